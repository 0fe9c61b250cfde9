"""Pages of a list, as the List actions cut it: MaxResults entries at a time, and a NextToken to go on with."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

Keys = Mapping[str, Callable[[Mapping[str, Any]], Any]]
"""What each SortBy value sorts by."""

_PAGE = 100


def page(member: str, entries: Sequence[Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{member: …}`` with the entries of the page that the request asks for, and a NextToken when there are more.

    Raises:
        ValidationError: the NextToken is not one that this function gave.

    >>> page("Names", ["a", "b", "c"], {"MaxResults": 2})["Names"]
    ['a', 'b']
    """
    start = _position(request.get("NextToken"))
    size = request.get("MaxResults") or _PAGE
    answer: dict[str, Any] = {member: list(entries[start : start + size])}
    if start + size < len(entries):
        answer["NextToken"] = base64.urlsafe_b64encode(f"at:{start + size}".encode()).decode()
    return answer


def ordered(
    entries: Sequence[Mapping[str, Any]],
    request: Mapping[str, Any],
    keys: Keys,
    default_order: str = "Descending",
) -> list[Mapping[str, Any]]:
    """Return the entries sorted by SortBy (the first of ``keys`` by default) and SortOrder."""
    key = keys[request.get("SortBy") or next(iter(keys))]
    return sorted(entries, key=key, reverse=request.get("SortOrder", default_order) == "Descending")


def within(value: float, after: float | None, before: float | None) -> bool:
    """Return whether a time is after one bound and before the other; a bound that is None does not count."""
    return (after is None or value > after) and (before is None or value < before)


def _position(token: str | None) -> int:
    if not token:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(token).decode().partition(":")
        if word == "at":
            return int(number)
    except ValueError:
        pass
    raise ValidationError("Invalid pagination token.")
