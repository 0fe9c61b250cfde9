"""Where things are: the Hub, and what is in the bucket. What steps must know too, weights and evaluations, is in `config.schema.Release`."""

from __future__ import annotations

from config.schema import Release

_LOCAL_HUB = "http://localhost"  # its port is known only when it runs, so an execution's parameter gives it


def hub_endpoint(release: Release) -> str:
    """Tell where the release's Hub is, as far as its files say."""
    return _LOCAL_HUB if release.model.weights.hub == "local" else release.environment.hub_endpoint


def release_file(release: Release) -> str:
    """Name the resolved model file in S3, named by its content."""
    return f"s3://{release.environment.bucket}/releases/{release.name}/{release.sha256}/release.json"


def fetch_output(release: Release) -> str:
    """Name the folder of FetchWeights' output.

    It is named by the release, not by the execution: the same release then asks for the same job, and SageMaker's step cache knows it.
    """
    return f"s3://{release.environment.bucket}/releases/{release.name}/{release.sha256}/fetch"


def executions(bucket: str, pipeline: str) -> str:
    """Name the folder of what the other steps of a pipeline's executions wrote, one folder an execution."""
    return f"s3://{bucket}/executions/{pipeline}"
