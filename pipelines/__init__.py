"""The command of the delivery line, `python -m pipelines.run`, and the pipeline definitions that it sends to SageMaker.

To follow a release from the command to SageMaker: `run` → `commands.release` → `resolution` → `checks.preflight` → `executions.sending` →
`definitions.documents` → `definitions.release` → `definitions.requests`. Each folder is one thing that the command does; its own docstring
says which. Beside them: `errors` (the exception tree), `diagnostics` (where warnings go), `resolution` (files into a release),
`released_model` (a model by its name), `next_command` (the command lines in messages).
"""

from pipelines import own_packages

own_packages.check()
