"""Several hosts put one load on: they coordinate over documents in S3."""
