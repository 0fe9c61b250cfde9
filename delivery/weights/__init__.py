"""Weights in S3: the manifest of a prefix, and whether its objects are still those of the manifest."""
