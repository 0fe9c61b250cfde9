"""The conditions of a Condition step."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import UnresolvedError
from sagemaker_local.pipelines.definitions.functions import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sagemaker_local.pipelines.definitions.functions import ExpressionScope

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


def all_hold(conditions: Sequence[dict[str, Any]], scope: ExpressionScope) -> bool:
    """Return whether every condition holds. A list of none holds.

    Raises:
        UnresolvedError: a value is missing, two values cannot be compared, or a condition is of an unknown type.
    """
    return all(holds(condition, scope) for condition in conditions)


def holds(condition: dict[str, Any], scope: ExpressionScope) -> bool:
    """Return whether one condition holds; raises as ``all_hold`` does."""
    kind = condition.get("Type", "")
    if kind in _COMPARISONS:
        return _compare(kind, resolve(condition["LeftValue"], scope), resolve(condition["RightValue"], scope))
    if kind == "In":
        query = resolve(condition["QueryValue"], scope)
        return any(_compare("Equals", query, value) for value in resolve(condition["Values"], scope))
    if kind == "Not":
        # The SDK's version 2 wrote "Expression", version 3 writes "Condition".
        return not holds(condition.get("Condition") or condition["Expression"], scope)
    if kind == "Or":
        return any(holds(nested, scope) for nested in condition["Conditions"])
    if kind == "And":
        return all_hold(condition["Conditions"], scope)
    raise UnresolvedError(f"Condition of type [{kind}] is not supported.")


def _compare(kind: str, left: Any, right: Any) -> bool:
    """Compare as the service does: numbers with numbers, and otherwise only values of one type."""
    left_is_number = isinstance(left, int | float) and not isinstance(left, bool)
    right_is_number = isinstance(right, int | float) and not isinstance(right, bool)
    if not (left_is_number and right_is_number) and type(left) is not type(right):
        raise UnresolvedError(
            f"LeftValue [{left}] of type [{type(left).__name__}] and RightValue [{right}] of type "
            f"[{type(right).__name__}] are not of the same type."
        )
    try:
        return bool(_COMPARISONS[kind](left, right))
    except TypeError as error:
        raise UnresolvedError(f"Condition of type [{kind}] not supported between [{left}] and [{right}].") from error
