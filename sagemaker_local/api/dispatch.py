"""Runs a SageMaker action: its request checked, then answered here or by moto, which knows the actions that no room has."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_local.api import unsupported, validation
from sagemaker_local.api.actions import HANDLERS, ActionCall, Handler
from sagemaker_local.errors import AwsError, NotImplementedHere

if TYPE_CHECKING:
    from sagemaker_local.context import Context


def _action_modules() -> list[str]:
    """Name the modules called ``actions`` of the rooms in this package, but for the table itself."""
    folder = Path(__file__).parents[1]
    own = Path(__file__).with_name("actions.py")
    files = sorted(file.relative_to(folder.parent) for file in folder.rglob("actions.py") if file != own)
    return [".".join(file.with_suffix("").parts) for file in files]


@functools.cache
def table() -> dict[str, Handler]:
    """Return every registered handler by action name, after each room's ``actions`` module is imported."""
    for module in _action_modules():
        importlib.import_module(module)
    return HANDLERS


def run(context: Context, region: str, name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Check a request and run its action, here or in moto.

    Args:
        context: the account's.
        region: of the request's signature.
        name: the action's, such as ``CreateModel``.
        request: as a client gives it, in JSON types.

    Returns:
        The action's response.

    Raises:
        AwsError: the action's error; ``UnknownOperationException`` for a name that SageMaker does not have.
        NotImplementedHere: neither this package nor moto has the action.
    """
    if not validation.known_action(name):
        raise AwsError("UnknownOperationException", f"SageMaker has no action {name}.", 404)
    validation.check(name, request)
    unsupported.check(name, request)
    call = ActionCall(context, region, context.account_id)
    handler = table().get(name)
    if handler is None:
        if name not in unsupported.DELEGATED:
            raise NotImplementedHere(f"{name} is not emulated.")
        return call.moto(name, request)
    return handler(call, request) or {}
