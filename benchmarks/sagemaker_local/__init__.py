"""What a SageMaker on this machine costs: ``python -m benchmarks.sagemaker_local``."""
