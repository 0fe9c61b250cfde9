"""The command of the delivery line, `python -m pipelines.run`, and the pipeline definitions that it sends to SageMaker.

To follow a release from the command to SageMaker: `run` → `commands.releasing` → `resolution` → `executions.sending` →
`definitions.release` → `definitions.requests`. Each folder is one thing that the command does; its own docstring says which.
"""
