"""Sending the definitions to SageMaker and starting a release: what `release` does for one model and `changed` for many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.environment import Environment
from config.schema import Release

if TYPE_CHECKING:
    from pipelines.executions.execution import Executions


def send_shared(environment: Environment, executions: Executions) -> None:
    """Create or update the pipelines that belong to no model: promotion, and reap where the environment has a role for it."""
    from pipelines.definitions import promotion, reaping

    approvals = promotion.build(environment)
    executions.upsert(approvals.name, approvals.definition(), "Promotes a version that was approved in the Model Registry")
    reaper = reaping.build(environment)
    if reaper is not None:
        executions.upsert(reaper.name, reaper.definition(), "Deletes what has outlived its run")


def send_release(release: Release, executions: Executions) -> str:
    """Store the release file, make the package group if there is none, create or update the model's pipeline; returns its name."""
    from pipelines.definitions import layout
    from pipelines.definitions import release as release_pipeline

    built = release_pipeline.build(release)
    executions.publish(release, layout.release_file(release))
    executions.upsert(built.name, built.definition(), f"Releases {release.name}: {release.model.weights.repository}")
    name: str = built.name
    return name


def start(release: Release, hub: str, executions: Executions, *, only_once: str | None = None) -> str:
    """Start a release whose definition was sent; returns the execution's ARN. `hub` is the Hub's address; `only_once` as in
    `Executions.start`."""
    from delivery.names import pipeline_name
    from pipelines.definitions import layout

    return executions.start(
        pipeline_name(release.name),
        {"ReleaseFile": layout.release_file(release), "HubEndpoint": hub},
        f"{release.name} at {release.model.weights.revision[:12]}",
        only_once=only_once,
    )
