"""Preflight: what is made ready and checked before a release starts; nothing is created in AWS, and no instance is paid for yet."""

from __future__ import annotations

from config.errors import ConfigError
from config.loader import problem_in
from config.schema import Release
from delivery.errors import DeliveryError, InputError
from delivery.hub import hub_repository
from pipelines.definitions import layout
from pipelines.errors import CommandError, UsageError
from pipelines.planning.observed_state import inspect_weights
from pipelines.setup.local import stack


def prepare(release: Release, file: str) -> str:
    """Start the local services where the environment is local, and check that the release can work.

    Args:
        release: What is to be released.
        file: The model's name or path, as it was given: messages point into that file.

    Returns:
        The Hub's address.

    Raises:
        ConfigError: It can never work; the error names the file's line.
        CommandError: The Hub cannot be asked, or the local services do not start.
    """
    hub = layout.hub_endpoint(release)
    if release.environment.kind == "local":
        services = stack.up(release.environment)
        hub = services.hub.url if release.model.weights.hub == "local" else hub
    check(release, hub, file)
    return hub


def check(release: Release, hub_endpoint: str, file: str) -> None:
    """Ask the Hub what FetchWeights will ask it: the revision is there, may be read, and can be served.

    Raises:
        ConfigError: It can never work; the error names the line of `file`.
        UsageError: The secret holds no token.
        CommandError: The Hub cannot be asked.
    """
    environment = release.environment
    try:
        token = hub_repository.read_token(environment.hub_token_secret, environment.region)
    except InputError as error:
        raise UsageError(f"{release.name}: {error}") from error
    except DeliveryError as error:
        raise CommandError(f"{release.name}: {error}") from error
    try:
        found = inspect_weights(release, hub_endpoint, token)
    except InputError as error:
        location = (error.key or "weights.repository").split(".")
        raise ConfigError([problem_in(file, tuple(location), str(error))]) from error
    except DeliveryError as error:
        raise CommandError(f"{release.name}: {error}") from error
    if found.misfits:
        raise ConfigError([problem_in(file, finding.location, finding.message) for finding in found.misfits])
