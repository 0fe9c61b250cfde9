"""The Model Registry: model packages, what is verified of one before it is promoted, which image it runs in."""
