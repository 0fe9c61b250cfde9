"""Who waits for whom: the dependency graph of a definition, and which steps may run given what has ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sagemaker_local.errors import ValidationError
from sagemaker_local.pipelines.definitions.model import Dependency, referenced_step, references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sagemaker_local.pipelines.definitions.model import Definition, StepSpec


class StepEnding(Enum):
    """How a step's part in an execution ended. ``SKIPPED``: its branch was not taken, or what it needs did not come."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    SKIPPED = "Skipped"


class Readiness(Enum):
    """Whether a step may run now."""

    WAIT = "wait"
    RUN = "run"
    SKIP = "skip"


_LETS_RUN = {
    "Completed": {StepEnding.SUCCEEDED},
    "Failed": {StepEnding.FAILED},
    "Stopped": {StepEnding.STOPPED},
    "Any": {StepEnding.SUCCEEDED, StepEnding.FAILED, StepEnding.STOPPED},
}


@dataclass(frozen=True)
class Graph:
    """The steps of a definition with all that each waits for: DependsOn, Get references and the enclosing condition."""

    steps: Mapping[str, StepSpec]
    upstream: Mapping[str, tuple[Dependency, ...]]

    def verdict(self, name: str, endings: Mapping[str, StepEnding], outcomes: Mapping[str, bool]) -> Readiness:
        """Return whether step ``name`` may run, given how others ended and how the evaluated conditions came out."""
        branch = self.steps[name].branch
        if branch is not None:
            if branch.condition not in endings:
                return Readiness.WAIT
            if outcomes.get(branch.condition) is not branch.taken:
                return Readiness.SKIP
        waiting = False
        for dependency in self.upstream[name]:
            ending = endings.get(dependency.step)
            if ending is None:
                waiting = True
            elif ending not in _LETS_RUN[dependency.trigger]:
                return Readiness.SKIP
        return Readiness.WAIT if waiting else Readiness.RUN

    def failure_is_handled(self, name: str, endings: Mapping[str, StepEnding]) -> bool:
        """Return whether a failed step's failure triggered a step that ran (``CompletedWithFailures`` instead of ``Failed``)."""
        return any(
            dependency.step == name and dependency.trigger in ("Failed", "Any") and endings.get(follower) is StepEnding.SUCCEEDED
            for follower, dependencies in self.upstream.items()
            for dependency in dependencies
        )


def build(definition: Definition) -> Graph:
    """Return the graph of a definition.

    Raises:
        ValidationError: the steps wait for one another in a circle.
    """
    upstream = {name: tuple(wait_for(step)) for name, step in definition.steps.items()}
    _refuse_cycles(upstream)
    return Graph(definition.steps, upstream)


def wait_for(step: StepSpec) -> Iterable[Dependency]:
    """Return what a step waits for: DependsOn, the steps that it refers to, and the condition whose branch it is in."""
    explicit = {dependency.step: dependency for dependency in step.all_dependencies}
    if step.branch is not None:
        explicit.setdefault(step.branch.condition, Dependency(step.branch.condition))
    for reference in references(step.own_expressions):
        name = referenced_step(reference)
        if name is not None and name not in step.inner_names:
            explicit.setdefault(name, Dependency(name))
    return explicit.values()


def _refuse_cycles(upstream: Mapping[str, tuple[Dependency, ...]]) -> None:
    settled: set[str] = set()
    remaining = dict(upstream)
    while remaining:
        free = [name for name, needs in remaining.items() if all(need.step in settled for need in needs)]
        if not free:
            names = ", ".join(sorted(remaining))
            raise ValidationError(f"Unable to parse pipeline definition. These steps wait for one another: {names}.")
        settled.update(free)
        for name in free:
            del remaining[name]
