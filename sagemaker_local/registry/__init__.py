"""The model registry: model package groups, their versions, approval."""
