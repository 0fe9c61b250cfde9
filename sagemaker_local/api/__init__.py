"""SageMaker's API: the table of actions that are answered here, requests checked against botocore's model, what is refused."""
