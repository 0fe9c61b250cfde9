"""What is checked before anything is created: the Hub has the revision, we may read it, and it can be served."""

from __future__ import annotations

from config.errors import ConfigError
from config.loader import problem_in
from config.schema import Release
from delivery.errors import InputError, StepError
from delivery.hub import hub_repository
from pipelines.errors import CommandError, UsageError


def check(release: Release, hub_endpoint: str, file: str) -> None:
    """Ask the Hub what FetchWeights will ask it; `file` is the model's name or path, as it was given.

    ConfigError, with the file's line, for what can never work, UsageError for a secret that holds no token, CommandError when the Hub
    cannot be asked.
    """
    environment = release.environment
    try:
        token = hub_repository.read_token(environment.hub_token_secret, environment.region)
    except InputError as error:
        raise UsageError(f"{release.name}: {error}") from error
    except StepError as error:
        raise CommandError(f"{release.name}: {error}") from error
    try:
        hub_repository.choose_files(release.model.weights, hub_endpoint, token)
    except InputError as error:
        location = (error.key or "weights.repository").split(".")
        raise ConfigError([problem_in(file, tuple(location), str(error))]) from error
    except StepError as error:
        raise CommandError(f"{release.name}: {error}") from error
