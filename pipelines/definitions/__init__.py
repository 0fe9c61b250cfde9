"""The three pipeline definitions as values, written with the SageMaker SDK: no AWS call, no file, no clock."""
