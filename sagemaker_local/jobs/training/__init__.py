"""SageMaker Training jobs: channels in, a local command for the image, model artifacts out."""
