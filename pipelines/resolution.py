"""How a model file and an environment become a release, and how what the environment needs is made ready."""

from __future__ import annotations

from config.environment import Environment
from config.loader import load_environment, load_model
from config.schema import Release
from pipelines.errors import UsageError

SUBCOMMANDS = {
    "approve",
    "ask",
    "changed",
    "definition",
    "doctor",
    "environment",
    "follow",
    "history",
    "images",
    "local",
    "plan",
    "reject",
    "release",
    "report",
    "rollback",
    "status",
}
"""Words that cannot be a model's name, since `run WORD` means something else (a test compares them with the command's own)."""


def resolve(model: str, env: str) -> Release:
    """Load a model file and an environment into a release. ConfigError for what is wrong with either."""
    from pipelines.setup.images import serving_image, tagged

    name, content = load_model(model)
    if name in SUBCOMMANDS:
        raise UsageError(f"a model cannot be called {name!r}: that is a subcommand; rename the file")
    environment = tagged(load_environment(env))
    if environment.kind == "local":
        from pipelines.setup import local

        local.leave_aws(environment.region)  # before the SageMaker SDK is imported: it looks for credentials
    if environment.kind == "aws" and content.weights.hub == "local":
        raise UsageError(f"{name}: weights.hub is `local`, which AWS cannot reach; set it to huggingface.co")
    return Release(name=name, model=content, environment=environment, serving_image=serving_image(content.serving, environment))


def ready(resolved: Release, file: str) -> str:
    """Start what the environment needs and check that the release can work; returns the Hub's address. `file` as it was given."""
    from pipelines.checks import preflight
    from pipelines.definitions import layout

    hub = layout.hub_endpoint(resolved)
    if resolved.environment.kind == "local":
        from pipelines.setup import local

        stack = local.up(resolved.environment)
        hub = stack.hub.url if resolved.model.weights.hub == "local" else hub
    preflight.check(resolved, hub, file)
    return hub


def attach(environment: Environment) -> None:
    """Use the local services if the environment is local; they must be running."""
    if environment.kind != "local":
        return
    from pipelines.setup import local

    stack = local.running()
    if stack is None:
        raise UsageError(
            "nothing runs on this machine; start it, with all that was released here: python -m pipelines.run local up; "
            "or release a model: python -m pipelines.run MODEL"
        )
    stack.activate(environment)
