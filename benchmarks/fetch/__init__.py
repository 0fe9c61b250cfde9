"""How fast weights go from a Hub to S3, ours beside the public ways, on loopback."""
