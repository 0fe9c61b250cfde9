"""What processing, training and transform jobs share: instances with a sandbox, S3 in and out, processes, records."""
