"""The two pipeline definitions, and the command that upserts, starts and follows them: `python -m pipelines.run`."""
