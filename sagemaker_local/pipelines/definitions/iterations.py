"""The ForEach step's iterations: every item gets its own copy of the body's steps, with the item put in.

The shape of the step, of its references (``ForEach.CurrentItem``, ``IterationOutput.STEP``) and of its properties is the SDK's
``for_each_step.py``; children are called ``BODY-INDEX``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import UnresolvedError
from sagemaker_local.pipelines.definitions.functions import as_text, follow
from sagemaker_local.pipelines.definitions.graph import Graph, wait_for
from sagemaker_local.pipelines.definitions.model import Dependency, StepSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

_CURRENT_ITEM = "ForEach.CurrentItem"


@dataclass(frozen=True)
class Iterations:
    """All children of one ForEach step."""

    graph: Graph
    contexts: dict[str, dict[str, Any]]
    """Each child's IterationContext."""
    body: list[str]
    """The names of the body's steps."""
    count: int

    def child(self, body: str, index: int) -> str:
        """Return the name of a body step's child."""
        return f"{body}-{index}"


def expand(step: StepSpec, items: Sequence[Any]) -> Iterations:
    """Return the children of a ForEach step for these items.

    Raises:
        UnresolvedError: a body step refers to a member that an item does not have.
    """
    body = step.body
    names = [spec.name for spec in body]
    children: dict[str, StepSpec] = {}
    contexts: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(items):
        for spec in body:
            name = f"{spec.name}-{index}"
            raw = _with_item({**spec.raw, "Name": name}, item, names, index)
            inner = tuple(Dependency(f"{need.step}-{index}", need.trigger) for need in spec.dependencies if need.step in names)
            children[name] = StepSpec(name, spec.type, raw.get("Arguments"), inner, None, raw)
            contexts[name] = {"ParentStepName": step.name, "Index": index, "Item": _shown(item)}
    upstream = {name: tuple(need for need in wait_for(child) if need.step in children) for name, child in children.items()}
    return Iterations(Graph(children, upstream), contexts, names, len(items))


def items_of(value: Any, step_name: str) -> list[Any]:
    """Return the items of a resolved IterableItems: a list, or text that is a JSON list.

    Raises:
        UnresolvedError: it is neither.
    """
    items = value
    if isinstance(value, str):
        try:
            items = json.loads(value)
        except ValueError as error:
            raise UnresolvedError(f"IterableItems of step {step_name} is not a JSON list: {value!r:.200}") from error
    if not isinstance(items, list):
        raise UnresolvedError(f"IterableItems of step {step_name} is not a list: {value!r:.200}")
    return items


def _with_item(value: Any, item: Any, names: list[str], index: int) -> Any:
    """Return ``value`` with the item in place of its references, and references to body steps pointing at this iteration's."""
    if isinstance(value, list):
        return [_with_item(entry, item, names, index) for entry in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Get"} and isinstance(value["Get"], str):
        return _reference(value["Get"], item, names, index)
    return {key: _with_item(entry, item, names, index) for key, entry in value.items()}


def _reference(reference: str, item: Any, names: list[str], index: int) -> Any:
    if reference == _CURRENT_ITEM:
        return item
    if reference.startswith((_CURRENT_ITEM + ".", _CURRENT_ITEM + "[")):
        return follow(_parsed(item), reference.removeprefix(_CURRENT_ITEM), reference)
    match = re.match(r"Steps\.([A-Za-z0-9\-_]+)(.*)\Z", reference, re.DOTALL)
    if match and match.group(1) in names:
        return {"Get": f"Steps.{match.group(1)}-{index}{match.group(2)}"}
    return {"Get": reference}


def _parsed(item: Any) -> Any:
    """Return items are commonly JSON objects as text."""
    if not isinstance(item, str):
        return item
    try:
        return json.loads(item)
    except ValueError as error:
        raise UnresolvedError(f"{_CURRENT_ITEM} is not a JSON object: {item!r:.200}") from error


def _shown(item: Any) -> str:
    return json.dumps(item) if isinstance(item, dict | list) else as_text(item)
