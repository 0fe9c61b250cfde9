"""How a model file and an environment become a release, and how a command reaches what the environment names."""

from __future__ import annotations

from config.environment import Environment
from config.loader import load_environment, load_model
from config.schema import Release
from pipelines.errors import UsageError
from pipelines.setup.images import serving_image, tag_images
from pipelines.setup.local import stack

SUBCOMMANDS = {
    "approve",
    "ask",
    "changed",
    "check",
    "definition",
    "doctor",
    "environment",
    "evaluate",
    "follow",
    "history",
    "images",
    "local",
    "new",
    "plan",
    "reject",
    "release",
    "report",
    "retire",
    "rollback",
    "status",
}
"""Words that cannot be a model's name, since `run WORD` means something else (a test compares them with the command's own)."""


def resolve(model: str, env: str) -> Release:
    """Load a model file and an environment into a release.

    >>> resolve("qwen3-32b", "local").package_group
    'release-qwen3-32b'

    Args:
        model: A name in config/models, or the path of a model file.
        env: A name in config/environments, or the path of an environment file.

    Raises:
        ConfigError: Something is wrong with one of the files.
        UsageError: The two do not go together.
    """
    name, content = load_model(model)
    if name in SUBCOMMANDS:
        raise UsageError(f"a model cannot be called {name!r}: that is a subcommand; rename the file")
    environment = tag_images(load_environment(env))
    if environment.kind == "local":
        stack.leave_aws(environment.region)  # before the SageMaker SDK is imported: it looks for credentials
    if environment.kind == "aws" and content.weights.hub == "local":
        raise UsageError(f"{name}: weights.hub is `local`, which AWS cannot reach; set it to huggingface.co")
    return Release(name=name, model=content, environment=environment, serving_image=serving_image(content.serving, environment))


def attach(environment: Environment) -> None:
    """Use the local services if the environment is local. UsageError when they do not run."""
    if environment.kind != "local":
        return
    running = stack.running()
    if running is None:
        raise UsageError(
            "nothing runs on this machine; start it, with all that was released here: python -m pipelines.run local up; "
            "or release a model: python -m pipelines.run MODEL"
        )
    running.activate(environment)
