"""A pipeline definition: parsed from its JSON, checked as CreatePipeline checks it, and held as values.

The format is the one the SageMaker SDK emits (version ``2020-12-01``). The wording of errors follows SageMaker's where a
public record of it exists (the SDK's integration tests); elsewhere it names the thing, the value and what was expected.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ValidationError
from sagemaker_local.pipelines.definitions.arguments import check_arguments
from sagemaker_local.pipelines.definitions.properties import check_property

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "2020-12-01"
PARAMETER_TYPES = ("String", "Integer", "Float", "Boolean")
TRIGGERS = ("Completed", "Failed", "Stopped", "Any")

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

_STEP_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}\Z")
_STEP_REFERENCE = re.compile(r"Steps\.([A-Za-z0-9\-_]+)")


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

    @property
    def property_files(self) -> dict[str, dict[str, Any]]:
        """The step's property files by their name: ``{"PropertyFileName", "OutputName", "FilePath"}`` each."""
        return {entry["PropertyFileName"]: entry for entry in self.raw.get("PropertyFiles") or ()}

    @property
    def all_dependencies(self) -> tuple[Dependency, ...]:
        """Its DependsOn, and what the steps of a ForEach step's body depend on outside of it."""
        if self.type != "ForEach":
            return self.dependencies
        outside = [need for body in body_steps(self) for need in body.dependencies if need.step not in self.inner_names]
        return (*self.dependencies, *outside)

    @property
    def inner_names(self) -> frozenset[str]:
        """The names of the steps in a ForEach step's body, which only they can refer to."""
        return frozenset(body.name for body in body_steps(self)) if self.type == "ForEach" else frozenset()

    @property
    def own_expressions(self) -> Any:
        """What the step itself resolves: not the steps nested in a condition's branches."""
        if self.type == "Condition":
            return (self.arguments or {}).get("Conditions", [])
        if self.type == "ForEach":
            return [own_arguments(self), [body.own_expressions for body in body_steps(self)]]
        return [self.arguments, {key: value for key, value in self.raw.items() if key not in ("Arguments", "DependsOn")}]


@dataclass(frozen=True)
class Definition:
    """A whole definition. ``steps`` keeps the order of the document, nested steps after the condition that holds them."""

    text: str = field(repr=False)
    parameters: dict[str, ParameterSpec]
    steps: dict[str, StepSpec]
    experiment_config: dict[str, Any]


def parse(text: str) -> Definition:
    """The definition in this JSON text.

    Raises:
        ValidationError: not JSON, an unknown step type, two steps of one name, a reference to nothing, a cycle, …
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _invalid(f"It is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _invalid(f"The top level must be an object, not {type(document).__name__}.")
    if document.get("Version") != VERSION:
        raise _invalid(f"Version {document.get('Version')!r} is not supported: expected {VERSION!r}.")
    parameters = _parameters(document.get("Parameters") or [])
    steps: dict[str, StepSpec] = {}
    _collect(document.get("Steps") or [], None, steps)
    if not steps:
        raise _invalid("Steps must hold at least one step.")
    definition = Definition(text, parameters, steps, document.get("PipelineExperimentConfig") or {})
    _check_references(definition)
    return definition


def own_arguments(step: StepSpec) -> Any:
    """The arguments that are resolved before a step runs: not those of nested steps, nor conditions, which resolve as they go."""
    if step.type == "Condition":
        return None
    if step.type == "ForEach":
        return {name: value for name, value in (step.arguments or {}).items() if name not in ("ForEachBody", "Selector")}
    return step.arguments


def body_steps(step: StepSpec) -> list[StepSpec]:
    """The steps of a ForEach step's body, as they are written."""
    return [_step(raw, None) for raw in (step.arguments or {}).get("ForEachBody") or []]


def references(value: Any) -> Iterator[str]:
    """Every ``{"Get": REFERENCE}`` in a value, however deep."""
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
    """The step that a Get reference names, or None when it names a parameter or an execution variable."""
    match = _STEP_REFERENCE.match(reference)
    return match.group(1) if match else None


def _invalid(reason: str) -> ValidationError:
    return ValidationError(f"Unable to parse pipeline definition. {reason}")


def _parameters(raw_parameters: list[Any]) -> dict[str, ParameterSpec]:
    parameters: dict[str, ParameterSpec] = {}
    for spec in map(_parameter, raw_parameters):
        if spec.name in parameters:
            raise _invalid(f"Parameter names must be unique: {spec.name!r} is declared twice.")
        parameters[spec.name] = spec
    return parameters


def _parameter(raw: Any) -> ParameterSpec:
    if not isinstance(raw, dict) or not isinstance(raw.get("Name"), str):
        raise _invalid(f"A parameter needs a Name: {raw!r}.")
    if raw.get("Type") not in PARAMETER_TYPES:
        raise _invalid(f"Parameter {raw['Name']!r} has type {raw.get('Type')!r}: expected one of {PARAMETER_TYPES}.")
    return ParameterSpec(raw["Name"], raw["Type"], raw.get("DefaultValue"), tuple(raw.get("EnumValues") or ()))


def _collect(raw_steps: Any, branch: Branch | None, steps: dict[str, StepSpec]) -> None:
    """Add these steps, and what is nested in them, to ``steps``."""
    if not isinstance(raw_steps, list):
        raise _invalid(f"Steps must be a list, not {type(raw_steps).__name__}.")
    for raw in raw_steps:
        step = _step(raw, branch)
        if step.name in steps:
            raise _invalid(f"Step names must be unique: {step.name!r} is used twice.")
        steps[step.name] = step
        if step.type == "ForEach":
            _check_body(step, steps)
        if step.type == "Condition":
            arguments = step.arguments or {}
            _collect(arguments.get("IfSteps") or [], Branch(step.name, True), steps)
            _collect(arguments.get("ElseSteps") or [], Branch(step.name, False), steps)


def _step(raw: Any, branch: Branch | None) -> StepSpec:
    if not isinstance(raw, dict) or not isinstance(raw.get("Name"), str) or not _STEP_NAME.match(raw["Name"]):
        raise _invalid(f"A step needs a Name of 1-64 letters, digits, '-' and '_': {str(raw)[:200]}.")
    if raw.get("Type") not in STEP_TYPES:
        raise _invalid(f"Step {raw['Name']!r} has unknown type {raw.get('Type')!r}.")
    dependencies = tuple(_dependency(raw["Name"], entry) for entry in raw.get("DependsOn") or ())
    step = StepSpec(raw["Name"], raw["Type"], raw.get("Arguments"), dependencies, branch, raw)
    check_arguments(step)
    return step


def _check_body(step: StepSpec, steps: dict[str, StepSpec]) -> None:
    """A ForEach step has items, a limit and a body of steps that may be in one."""
    missing = [name for name in ("IterableItems", "MaxConcurrency", "ForEachBody") if not (step.arguments or {}).get(name)]
    if missing:
        raise _invalid(f"ForEach step {step.name!r} needs {', '.join(missing)}.")
    for body in body_steps(step):
        if body.type in ("Condition", "Fail", "ForEach"):
            raise _invalid(f"Step {body.name!r} of type {body.type} is not allowed in the body of ForEach step {step.name!r}.")
        if body.name in steps:
            raise _invalid(f"Step names must be unique: {body.name!r} is used twice.")


def _dependency(step_name: str, entry: Any) -> Dependency:
    if isinstance(entry, str):
        return Dependency(entry)
    if isinstance(entry, dict) and isinstance(entry.get("Step"), str) and entry.get("Trigger", "Completed") in TRIGGERS:
        return Dependency(entry["Step"], entry.get("Trigger", "Completed"))
    raise _invalid(f"Step {step_name!r} has a DependsOn entry that is neither a name nor a Step and Trigger: {entry!r}.")


def _check_references(definition: Definition) -> None:
    """Every name that the definition mentions exists, and nothing depends on a Fail step or on itself."""
    for step in definition.steps.values():
        for dependency in step.all_dependencies:
            _check_step_reference(definition, step, dependency.step, "depends on")
        for reference in references(step.own_expressions):
            kind, _, rest = reference.partition(".")
            if kind == "Parameters" and rest not in definition.parameters:
                raise _invalid(f"Step {step.name!r} uses parameter {rest!r}, which is not declared in Parameters.")
            if kind == "ForEach" and step.type == "ForEach":
                continue
            if kind == "Execution":
                _check_variable(step, rest)
            if kind not in ("Parameters", "Execution", "Steps"):
                raise _invalid(f"Step {step.name!r} has reference {reference!r}: expected Parameters, Execution or Steps.")
            name = referenced_step(reference)
            if name is not None and name not in step.inner_names:
                _check_step_reference(definition, step, name, "refers to")
                _check_path(definition.steps[name], step, reference)


def _check_variable(step: StepSpec, name: str) -> None:
    """An execution variable is one that there is; the name of a job only its own step has."""
    types = {step.type, *(body.type for body in (body_steps(step) if step.type == "ForEach" else ()))}
    known = [*VARIABLES, *(variable for variable, owner in JOB_NAMES.items() if owner in types)]
    if name not in known:
        raise _invalid(f"Step {step.name!r} uses Execution.{name}, which it does not have: known are {', '.join(known)}.")


def _check_step_reference(definition: Definition, step: StepSpec, name: str, verb: str) -> None:
    if name not in definition.steps:
        raise _invalid(f"Step {step.name!r} {verb} step {name!r}, which does not exist.")
    if definition.steps[name].type == "Fail":
        raise _invalid(f"{step.name} can not depends on {name}.")  # SageMaker's own words, grammar included


def _check_path(target: StepSpec, step: StepSpec, reference: str) -> None:
    """What a Get reference to a step names is a property or a property file of that step."""
    path = _STEP_REFERENCE.sub("", reference, count=1)
    kind, _, name = path.partition(".")[2].partition(".")
    if kind != "PropertyFiles":
        check_property(target, path, reference)
    elif name not in target.property_files:
        raise _invalid(f"Step {step.name!r} reads property file {name!r}, which {target.name!r} does not declare.")
