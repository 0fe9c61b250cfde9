"""The door to the definitions: each as the JSON document that SageMaker is sent.

The SageMaker SDK, which they are written with, takes 3 s of CPU to import: it is imported when the first document is asked for, and only here.
"""

from __future__ import annotations

from dataclasses import dataclass

from config.environment import Environment
from config.schema import Release


@dataclass(frozen=True)
class PipelineDocument:
    """A pipeline's definition."""

    name: str
    definition: str
    """JSON."""
    description: str


def release_document(release: Release) -> PipelineDocument:
    """Return the definition of the model's own pipeline, `release-MODEL`.

    >>> from pipelines.resolution import resolve
    >>> release_document(resolve("qwen3-32b", "local")).name
    'release-qwen3-32b'
    """
    from pipelines.definitions import release as release_pipeline  # deferred: the SageMaker SDK costs 3 s of CPU

    built = release_pipeline.build(release)
    return PipelineDocument(built.name, built.definition(), f"Releases {release.name}: {release.model.weights.repository}")


def evaluation_document(release: Release, release_file: str) -> PipelineDocument:
    """Return the definition of the pipeline that evaluates a version again, `evaluate-MODEL`. Arguments as of `evaluation.build`."""
    from pipelines.definitions import evaluation  # deferred: the SageMaker SDK costs 3 s of CPU

    built = evaluation.build(release, release_file)
    return PipelineDocument(built.name, built.definition(), f"Evaluates a version of {release.name} again")


def shared_documents(environment: Environment) -> list[PipelineDocument]:
    """Return the definitions that belong to no model: promotion, and reap where the environment has a role for it."""
    from pipelines.definitions import promotion, reaping  # deferred: the SageMaker SDK costs 3 s of CPU

    approvals = promotion.build(environment)
    found = [
        PipelineDocument(approvals.name, approvals.definition(), "Promotes a version that was approved in the Model Registry")
    ]
    reaper = reaping.build(environment)
    if reaper is not None:
        found.append(PipelineDocument(reaper.name, reaper.definition(), "Deletes what has outlived its run"))
    return found
