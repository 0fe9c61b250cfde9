"""The subcommands of `python -m pipelines.run`, one module each, named as the subcommand is.

Beside them: `failures` (how any of them ends when something goes wrong), `decisions` (what approve and reject share), `commits` (git, for
`changed`) and `demo` (`make demo`).
"""
