"""Executions of pipelines: scheduled, run, retried, recorded."""
