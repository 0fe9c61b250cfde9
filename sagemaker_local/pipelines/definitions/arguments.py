"""The Arguments of a step, checked when a pipeline is created, so that a misspelt member does not wait for a long step.

They are the request of the action that the step calls, with functions in place of values. CreatePipeline refuses a member that
the request does not have ("Unknown Argument member", aws/sagemaker-python-sdk pull request 3472 and issue 4994) and a value of
another JSON type ("Expecting start of Json Array." and "... Object.", issues 2345 and 3908).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ValidationError
from sagemaker_local.service_models import service_model

if TYPE_CHECKING:
    from sagemaker_local.pipelines.definitions.model import StepSpec

CALLS = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "Transform": "CreateTransformJob",
    "RegisterModel": "CreateModelPackage",
    "Model": "CreateModel",
    "EndpointConfig": "CreateEndpointConfig",
    "Endpoint": "CreateEndpoint",
}
"""The action that a step of a type calls with its Arguments."""

_NOT_IN_A_STEP = {"RegisterModel": frozenset({"ModelPackageName"})}  # pull request 3472
_FUNCTIONS = frozenset({"Std:Join", "Std:JsonGet"})


def check_arguments(step: StepSpec) -> None:
    """Check the Arguments of a step whose type is in ``CALLS``; those of others have no fixed form.

    Raises:
        ValidationError: there are none, a member is unknown, or a value has the wrong JSON type.
    """
    if step.type not in CALLS:
        return
    if not isinstance(step.arguments, dict):
        raise _invalid(f"Step {step.name!r} of type {step.type} needs Arguments, an object.")
    for name in _NOT_IN_A_STEP.get(step.type, ()):
        if name in step.arguments:
            raise _unknown(name)
    _check(service_model("sagemaker").operation_model(CALLS[step.type]).input_shape, step.arguments)


def _check(shape: Any, value: Any) -> None:
    if value is None or is_function(value):
        return
    if shape.type_name == "list":
        if not isinstance(value, list):
            raise _invalid("Expecting start of Json Array.")
        for item in value:
            _check(shape.member, item)
    elif shape.type_name in ("structure", "map"):
        if not isinstance(value, dict):
            raise _invalid("Expecting start of Json Object.")
        for name, item in value.items():
            if shape.type_name == "structure" and name not in shape.members:
                raise _unknown(name)
            _check(shape.value if shape.type_name == "map" else shape.members[name], item)


def is_function(value: Any) -> bool:
    """Return whether a value of a definition stands for another: a Get, a Std:Join or a Std:JsonGet.

    Raises:
        ValidationError: it is a ``Std:`` function that the service does not have.
    """
    if not isinstance(value, dict) or len(value) != 1:
        return False
    (name,) = value
    if name.startswith("Std:") and name not in _FUNCTIONS:
        raise _invalid(f"There is no function {name}: expected {' or '.join(sorted(_FUNCTIONS))}.")
    return name in _FUNCTIONS or (name == "Get" and isinstance(value[name], str))


def _unknown(name: str) -> ValidationError:
    return _invalid(f"Unknown Argument member '{name}'.")


def _invalid(reason: str) -> ValidationError:
    return ValidationError(f"Unable to parse pipeline definition. {reason}")
