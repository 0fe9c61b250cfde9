"""Definitions sent to SageMaker; executions started, followed and shown: the same calls on AWS and on this machine."""
