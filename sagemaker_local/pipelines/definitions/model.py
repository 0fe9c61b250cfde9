"""A pipeline definition as values: its parameters, its steps, what each refers to and depends on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Every step type that the service knows (the SDK's StepTypeEnum). CreatePipeline accepts them all; one that is not
# emulated fails, with its name, when an execution reaches it.
STEP_TYPES = frozenset(
    {
        *("AutoML", "Callback", "Cleanup", "ClarifyCheck", "Condition", "EMR", "EMRServerless", "Endpoint", "EndpointConfig"),
        *("Fail", "ForEach", "InferenceComponent", "Job", "Lambda", "Lineage", "Model", "Processing", "QualityCheck"),
        *("RegisterModel", "Training", "Transform", "Tuning"),
    }
)

VARIABLES = ("PipelineName", "PipelineArn", "PipelineExecutionId", "PipelineExecutionArn", "StartDateTime", "CurrentDateTime")
"""The execution variables that every step has (the SDK's ``execution_variables.py``)."""
JOB_NAMES = {"TrainingJobName": "Training", "ProcessingJobName": "Processing"}
"""Those that are the name of the step's own job: the type of step that has them."""

JOB_NAME = "${the name of this step's job}"
"""What stands for the execution variables that are a job's name: each attempt has a job, and a name, of its own."""

STEP_REFERENCE = re.compile(r"Steps\.([A-Za-z0-9\-_]+)")
"""The beginning of a Get reference to a step."""


@dataclass(frozen=True)
class ParameterSpec:
    """A declared parameter. ``default`` is None when a value must be given; ``enum`` is empty when any value will do."""

    name: str
    type: str
    default: Any = None
    enum: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Dependency:
    """A step that must end first, and the end that lets the dependent step run (``Completed`` unless said otherwise)."""

    step: str
    trigger: str = "Completed"


@dataclass(frozen=True)
class Branch:
    """Where a nested step lives: in the IfSteps (``taken`` is True) or ElseSteps of a condition step."""

    condition: str
    taken: bool


@dataclass(frozen=True)
class StepSpec:
    """One step as it was written: ``raw`` is its whole JSON, ``arguments`` the part that is resolved before it runs."""

    name: str
    type: str
    arguments: Any
    dependencies: tuple[Dependency, ...]
    branch: Branch | None
    raw: dict[str, Any] = field(repr=False)
    body: tuple[StepSpec, ...] = ()
    """The steps of a ForEach step's body, as they are written."""

    @property
    def property_files(self) -> dict[str, dict[str, Any]]:
        """The step's property files by their name: ``{"PropertyFileName", "OutputName", "FilePath"}`` each."""
        return {entry["PropertyFileName"]: entry for entry in self.raw.get("PropertyFiles") or ()}

    @property
    def all_dependencies(self) -> tuple[Dependency, ...]:
        """Its DependsOn, and what the steps of a ForEach step's body depend on outside of it."""
        if self.type != "ForEach":
            return self.dependencies
        outside = [need for step in self.body for need in step.dependencies if need.step not in self.inner_names]
        return (*self.dependencies, *outside)

    @property
    def inner_names(self) -> frozenset[str]:
        """The names of the steps in a ForEach step's body, which only they can refer to."""
        return frozenset(step.name for step in self.body)

    @property
    def own_arguments(self) -> Any:
        """The arguments that are resolved before the step runs: not those of nested steps, nor conditions, which resolve as they go."""
        if self.type == "Condition":
            return None
        if self.type == "ForEach":
            return {name: value for name, value in (self.arguments or {}).items() if name not in ("ForEachBody", "Selector")}
        return self.arguments

    @property
    def own_expressions(self) -> Any:
        """What the step itself resolves: not the steps nested in a condition's branches."""
        if self.type == "Condition":
            return (self.arguments or {}).get("Conditions", [])
        if self.type == "ForEach":
            return [self.own_arguments, [step.own_expressions for step in self.body]]
        return [self.arguments, {key: value for key, value in self.raw.items() if key not in ("Arguments", "DependsOn")}]


@dataclass(frozen=True)
class Definition:
    """A whole definition. ``steps`` keeps the order of the document, nested steps after the condition that holds them."""

    text: str = field(repr=False)
    parameters: dict[str, ParameterSpec]
    steps: dict[str, StepSpec]
    experiment_config: dict[str, Any]


def references(value: Any) -> Iterator[str]:
    """Yield every ``{"Get": REFERENCE}`` in a value, however deep."""
    if isinstance(value, dict):
        if set(value) == {"Get"} and isinstance(value["Get"], str):
            yield value["Get"]
            return
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def referenced_step(reference: str) -> str | None:
    """Return the step that a Get reference names, or None when it names a parameter or an execution variable."""
    match = STEP_REFERENCE.match(reference)
    return match.group(1) if match else None
