"""S3, where moto's is wrong or copies too much; everything else of S3 is moto's."""
