"""How hosts of one job start together and miss one another: ours over S3, beside engines on a network of their own."""
