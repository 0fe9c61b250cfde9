"""`local up` and `local down`: the SageMaker and the Hub on this machine."""

from __future__ import annotations

from config.loader import load_environment
from pipelines.setup.local import stack


def up() -> None:
    """Start the local services and print how to reach them. LocalError, with the end of a log, when one does not start."""
    services = stack.up(load_environment("local"))
    print(
        f"export AWS_ENDPOINT_URL={services.sagemaker.url} AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local "
        "AWS_DEFAULT_REGION=us-east-1"
    )
    print(f"export HF_ENDPOINT={services.hub.url}")


def down() -> None:
    """Stop the local services and everything that they run, and print which ran."""
    stopped = stack.down()
    print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
