"""What the audit log does not say of a call: passwords and tokens, and what a container or a message carries, where these hide."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sagemaker_local.service_models import service_model

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN = "***"
_SECRET = re.compile(
    r"(?i)pass(word|wd|phrase)|secret(?!id$|arn$|name$)|token|credential|authoriz|api_?key|private_?key|signature|^x-amz-"
)
"""Names of what is secret: members, variables, parameters of a pipeline."""
_CARRIED = frozenset({
    "environment", "environmentvariables", "environmentvariablesoverride", "hyperparameters", "statichyperparameters",
    "containerarguments", "containerentrypoint", "command", "pipelinedefinition", "definition", "templatebody", "parametervalue",
    "message", "messagebody", "body", "payload", "data", "detail", "input", "inputtemplate", "zipfile",
})  # fmt: skip
"""Members, in lower case, that say nothing of which resource a call is about, and may have a secret anywhere in them."""


def redacted(service: str, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's parameters without its secrets: those that botocore's model marks ``sensitive``, and those that their names give away.

    Args:
        service: its name in botocore.
        action: the operation's name.
        parameters: as a client gives them.

    >>> redacted("secretsmanager", "CreateSecret", {"Name": "hub-token", "SecretString": "hf_abc"})
    {'Name': 'hub-token', 'SecretString': '***'}
    """
    model = service_model(service) if service != "s3" else None  # of S3 only names are known
    shape = model.operation_model(action).input_shape if model is not None and action in model.operation_names else None
    return {name: _hidden(name, value, _member(shape, name)) for name, value in parameters.items()}


def _hidden(name: str, value: Any, shape: Any) -> Any:
    """Return a member's value, with what is secret of it hidden."""
    parts = name.lower().split(".")  # the query protocol writes ``Tags.member.1.Value``
    if (shape is not None and shape.metadata.get("sensitive")) or any(part in _CARRIED or _SECRET.search(part) for part in parts):
        return dict.fromkeys(value, HIDDEN) if isinstance(value, dict) else HIDDEN
    if isinstance(value, dict):
        if any(isinstance(value.get(key), str) and _SECRET.search(value[key]) for key in ("Name", "Key", "name", "key")):
            return {key: item if key.lower() in ("name", "key") else HIDDEN for key, item in value.items()}
        return {key: _hidden(key, item, _member(shape, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden("", item, getattr(shape, "member", None)) for item in value]
    return value


def _member(shape: Any, name: str) -> Any:
    """Return the shape of a structure's member, or of a map's values; None where the model says nothing."""
    kind = getattr(shape, "type_name", None)
    if kind == "structure":
        return shape.members.get(name)
    return shape.value if kind == "map" else None
