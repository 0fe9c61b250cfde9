"""Which properties a step has: checked when a pipeline is created, so that a misspelt path does not wait for a long step.

A step's properties are the answer of its resource's Describe action, so botocore's model of that answer says what exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import UnresolvedError, ValidationError
from sagemaker_local.pipelines.definitions.functions import path_keys
from sagemaker_local.service_models import service_model

if TYPE_CHECKING:
    from sagemaker_local.pipelines.definitions.model import StepSpec

DESCRIBED_BY = {
    "Processing": "DescribeProcessingJob",
    "Training": "DescribeTrainingJob",
    "Transform": "DescribeTransformJob",
    "RegisterModel": "DescribeModelPackage",
    "Model": "DescribeModel",
    "EndpointConfig": "DescribeEndpointConfig",
    "Endpoint": "DescribeEndpoint",
}


def check_property(step: StepSpec, path: str, reference: str) -> None:
    """Check that a step has the property at ``path`` (what follows ``Steps.NAME`` in ``reference``).

    Steps of other types than these are not checked.

    Raises:
        ValidationError: it has not; the message names what there is instead.
    """
    try:
        keys = path_keys(path, reference)
    except UnresolvedError as error:
        raise _invalid(str(error)) from error
    if step.type in DESCRIBED_BY:
        shape = service_model("sagemaker").operation_model(DESCRIBED_BY[step.type]).output_shape
        for key in keys:
            shape = _member(shape, key, reference)
    elif step.type == "Condition" and keys != ["Outcome"]:
        raise _invalid(f"{reference}: a Condition step has the property Outcome and no other.")
    elif step.type in ("Lambda", "Callback"):
        declared = [output["OutputName"] for output in step.raw.get("OutputParameters") or []]
        if len(keys) != 2 or keys[0] != "OutputParameters" or keys[1] not in declared:
            names = ", ".join(declared) or "none"
            raise _invalid(f"{reference}: step {step.name} has the OutputParameters {names}.")


def _member(shape: Any, key: str | int, reference: str) -> Any:
    if shape.type_name == "structure" and isinstance(key, str) and key in shape.members:
        return shape.members[key]
    if shape.type_name == "map" and isinstance(key, str):
        return shape.value
    if shape.type_name == "list":
        return shape.member
    found = ", ".join(shape.members) if shape.type_name == "structure" else f"a {shape.type_name}"
    raise _invalid(f"{reference}: there is no {key!r} in {shape.name} ({found}).")


def _invalid(reason: str) -> ValidationError:
    return ValidationError(f"Unable to parse pipeline definition. {reason}")
