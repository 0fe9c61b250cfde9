"""Promote: an approved version becomes what production serves."""
