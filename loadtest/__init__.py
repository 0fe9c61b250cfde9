"""A load generator for OpenAI-compatible servers and SageMaker endpoints, and what it measures: `python -m loadtest`."""
