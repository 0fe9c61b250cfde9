"""Definitions sent to SageMaker, and a release started: what `release` does for one model and `changed` for many."""

from __future__ import annotations

from config.environment import Environment
from config.schema import Release
from delivery.names import pipeline_name
from pipelines.definitions import documents, layout
from pipelines.executions.execution import Executions


def send_shared(environment: Environment, executions: Executions) -> None:
    """Create or update the pipelines that belong to no model: promotion, and reap where the environment has a role for it."""
    for document in documents.shared_documents(environment):
        executions.upsert(document.name, document.definition, document.description)


def send_release(release: Release, executions: Executions) -> None:
    """Store the release file, make the package group if there is none, create or update the model's pipeline. Idempotent."""
    document = documents.release_document(release)
    executions.publish(release, layout.release_file(release))
    executions.upsert(document.name, document.definition, document.description)


def start(release: Release, hub: str, executions: Executions, *, only_once: str | None = None) -> str:
    """Start a release whose definition was sent.

    Args:
        release: What is released.
        hub: The Hub's address.
        executions: The pipelines of the release's environment.
        only_once: As in `Executions.start`.

    Returns:
        The execution's ARN.
    """
    return executions.start(
        pipeline_name(release.name),
        {"ReleaseFile": layout.release_file(release), "HubEndpoint": hub},
        f"{release.name} at {release.model.weights.revision[:12]}",
        only_once=only_once,
    )
