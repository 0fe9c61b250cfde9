"""What the subcommands of `python -m pipelines.run` do, one module each."""
