"""Instances of a production variant: their container, their model data, their process."""
