"""A pipeline definition: parsed from its JSON, checked as CreatePipeline checks it, and held as values.

The format is the one the SageMaker SDK emits (version ``2020-12-01``). The wording of errors follows SageMaker's where a
public record of it exists (the SDK's integration tests); elsewhere it names the thing, the value and what was expected.
"""

from __future__ import annotations

import json
import re
from typing import Any

from sagemaker_local.errors import ValidationError
from sagemaker_local.pipelines.definitions.arguments import check_arguments
from sagemaker_local.pipelines.definitions.model import (
    JOB_NAMES,
    STEP_REFERENCE,
    STEP_TYPES,
    VARIABLES,
    Branch,
    Definition,
    Dependency,
    ParameterSpec,
    StepSpec,
    referenced_step,
    references,
)
from sagemaker_local.pipelines.definitions.properties import check_property

VERSION = "2020-12-01"
PARAMETER_TYPES = ("String", "Integer", "Float", "Boolean")
TRIGGERS = ("Completed", "Failed", "Stopped", "Any")

_STEP_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}\Z")


def parse(text: str) -> Definition:
    """Return the definition in this JSON text.

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
    body: tuple[StepSpec, ...] = ()
    if raw["Type"] == "ForEach":
        body = tuple(_step(inner, None) for inner in (raw.get("Arguments") or {}).get("ForEachBody") or ())
    step = StepSpec(raw["Name"], raw["Type"], raw.get("Arguments"), dependencies, branch, raw, body)
    check_arguments(step)
    return step


def _check_body(step: StepSpec, steps: dict[str, StepSpec]) -> None:
    """Check that a ForEach step has items, a limit and a body of steps that may be in one."""
    missing = [name for name in ("IterableItems", "MaxConcurrency", "ForEachBody") if not (step.arguments or {}).get(name)]
    if missing:
        raise _invalid(f"ForEach step {step.name!r} needs {', '.join(missing)}.")
    for body in step.body:
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
    """Check that every name that the definition mentions exists, and that nothing depends on a Fail step or on itself."""
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
    """Check that an execution variable is one that there is; the name of a job only its own step has."""
    types = {step.type, *(body.type for body in step.body)}
    known = [*VARIABLES, *(variable for variable, owner in JOB_NAMES.items() if owner in types)]
    if name not in known:
        raise _invalid(f"Step {step.name!r} uses Execution.{name}, which it does not have: known are {', '.join(known)}.")


def _check_step_reference(definition: Definition, step: StepSpec, name: str, verb: str) -> None:
    if name not in definition.steps:
        raise _invalid(f"Step {step.name!r} {verb} step {name!r}, which does not exist.")
    if definition.steps[name].type == "Fail":
        raise _invalid(f"{step.name} can not depends on {name}.")  # SageMaker's own words, grammar included


def _check_path(target: StepSpec, step: StepSpec, reference: str) -> None:
    """Check that what a Get reference to a step names is a property or a property file of that step."""
    path = STEP_REFERENCE.sub("", reference, count=1)
    kind, _, name = path.partition(".")[2].partition(".")
    if kind != "PropertyFiles":
        check_property(target, path, reference)
    elif name not in target.property_files:
        raise _invalid(f"Step {step.name!r} reads property file {name!r}, which {target.name!r} does not declare.")
