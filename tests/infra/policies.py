"""Whether IAM policies allow a request: the part of IAM that infra/delivery.yaml uses, and an error for every other.

("Policy evaluation logic", "IAM JSON policy elements: Condition operators" in the IAM user guide.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.infra.template import listed


@dataclass(frozen=True)
class Need:
    """One permission that a call takes."""

    action: str
    """As IAM writes it: s3:GetObject."""
    resource: str
    """The ARN, or `*` for actions that know none."""
    context: Mapping[str, str] = field(default_factory=dict)
    """Condition keys of the request, and of the resource's tags."""


def allows(statements: list[dict[str, Any]], need: Need) -> bool:
    """Whether one of the statements allows it. All of ours are Allow statements."""
    return any(_covers(statement, need) for statement in statements)


def _covers(statement: Mapping[str, Any], need: Need) -> bool:
    assert statement["Effect"] == "Allow"
    return (
        any(fnmatchcase(need.action, action) for action in listed(statement["Action"]))
        and any(fnmatchcase(need.resource, resource) for resource in listed(statement["Resource"]))
        and all(
            _holds(operator, key, [str(value) for value in listed(values)], need.context)
            for operator, tests in statement.get("Condition", {}).items()
            for key, values in tests.items()
        )
    )


def _holds(operator: str, key: str, values: list[str], context: Mapping[str, str]) -> bool:
    given = context.get(key)
    match operator:
        case "Null":
            return (given is None) == (values == ["true"])
        case "StringEquals" | "Bool":
            return given is not None and given in values
        case "StringEqualsIfExists":
            return given is None or given in values
        case "StringLike":
            return given is not None and any(fnmatchcase(given, value) for value in values)
    raise NotImplementedError(f"the condition operator {operator}")
