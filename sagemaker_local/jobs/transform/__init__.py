"""SageMaker Batch Transform jobs: a model's container, given every object of an input, its answers kept beside."""
