"""The table of SageMaker actions that this package answers itself; what is not in it goes to moto."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, NotImplementedHere
from sagemaker_local.front import unsupported, validation

if TYPE_CHECKING:
    from sagemaker_local.context import Context


@dataclass(frozen=True)
class Call:
    """Where a request came from: the server and the region of its signature."""

    context: Context
    region: str
    account_id: str

    def moto(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run a SageMaker action in moto.

        Raises:
            AwsError: moto's error.
        """
        return self.context.moto.call(action, request, self.region)

    def arn(self, resource: str) -> str:
        """The ARN of a SageMaker resource, such as ``arn("pipeline/my-pipeline")``."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{resource}"


Handler = Callable[[Call, dict[str, Any]], "dict[str, Any] | None"]

_ACTIONS: dict[str, Handler] = {}

RESUMES: list[Callable[[Context], None]] = []
"""Called once when the server has started and listens: a room takes up what the last server left."""


def on_start(resume: Callable[[Context], None]) -> Callable[[Context], None]:
    """Register a room's function that is to run once at start, with the server already listening."""
    RESUMES.append(resume)
    return resume


def action(name: str) -> Callable[[Handler], Handler]:
    """Register a handler for a SageMaker action. It gets a checked request and returns the response (None: an empty one)."""

    def register(handler: Handler) -> Handler:
        _ACTIONS[name] = handler
        return handler

    return register


def _action_modules() -> list[str]:
    """The modules named ``actions`` of the rooms in this package, but for this one."""
    folder = Path(__file__).parents[1]
    files = sorted(file.relative_to(folder.parent) for file in folder.rglob("actions.py") if file != Path(__file__))
    return [".".join(file.with_suffix("").parts) for file in files]


@functools.cache
def table() -> dict[str, Handler]:
    """Every registered handler by action name, after each room's ``actions`` module is imported."""
    for module in _action_modules():
        importlib.import_module(module)
    return _ACTIONS


def run(context: Context, region: str, name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Check a request and run its action, here or in moto.

    Raises:
        AwsError: the action's error; ``UnknownOperationException`` for a name that SageMaker does not have.
        NotImplementedHere: neither this package nor moto has the action.
    """
    if not validation.known_action(name):
        raise AwsError("UnknownOperationException", f"SageMaker has no action {name}.", 404)
    validation.check(name, request)
    unsupported.check(name, request)
    call = Call(context, region, context.account_id)
    handler = table().get(name)
    if handler is None:
        if name not in unsupported.DELEGATED:
            raise NotImplementedHere(f"{name} is not emulated.")
        return call.moto(name, request)
    return handler(call, request) or {}
