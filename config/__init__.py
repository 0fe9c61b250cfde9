"""What a team writes: model files and environment files, their format and their loading. Of ours it imports only the format of load
profiles, `loadtest.profiles`: a model file embeds them. `reading/` knows YAML, its line numbers and its mistakes; `rules/` checks what no type can.
"""

PROJECT = "sglang-sagemaker-delivery"
"""Whose `config` this is: PyPI has another, and pipelines.own_packages looks for this word."""
