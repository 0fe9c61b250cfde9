"""What is checked before anything is created: the Hub has the revision, we may read it, and it can be served."""

from __future__ import annotations

from config.schema import Release
from pipelines.errors import CommandError, UsageError
from steps.errors import InputError, StepError
from steps.fetch_weights import hub


def check(release: Release, hub_endpoint: str) -> None:
    """Ask the Hub what FetchWeights will ask it. UsageError for what can never work, CommandError when the Hub cannot be asked."""
    environment = release.environment
    try:
        token = hub.read_token(environment.hub_token_secret, environment.region)
        hub.choose_files(release.model.weights, hub_endpoint, token)
    except InputError as error:
        raise UsageError(f"{release.name}: {error}") from error
    except StepError as error:
        raise CommandError(f"{release.name}: {error}") from error
