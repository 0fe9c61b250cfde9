"""A file that a person wrote, read: YAML with its lines, scalars as people write them, and what is wrong with either, in words."""
