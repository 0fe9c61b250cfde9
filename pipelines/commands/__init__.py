"""The subcommands of `python -m pipelines.run`, one module each, named as the subcommand is, in the rooms that `--help` shows.

`failures` shows how any of them ends when something goes wrong.
"""
