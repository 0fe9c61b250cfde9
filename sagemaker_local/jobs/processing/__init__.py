"""SageMaker Processing jobs: real processes with their S3 inputs before, and their S3 outputs during and after."""
