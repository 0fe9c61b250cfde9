"""The table of SageMaker actions that this package answers itself, which each room fills; ``dispatch`` runs what is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagemaker_local.context import Context


@dataclass(frozen=True)
class ActionCall:
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
        """Return the ARN of a SageMaker resource, such as ``arn("pipeline/my-pipeline")``."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{resource}"


Handler = Callable[[ActionCall, dict[str, Any]], "dict[str, Any] | None"]

HANDLERS: dict[str, Handler] = {}
"""By action name. Whole once each room's ``actions`` module is imported: ``dispatch.table``."""

RESUMES: list[Callable[[Context], None]] = []
"""Called once when the server has started and listens: a room takes up what the last server left."""


def on_start(resume: Callable[[Context], None]) -> Callable[[Context], None]:
    """Register a room's function that is to run once at start, with the server already listening."""
    RESUMES.append(resume)
    return resume


def action(name: str) -> Callable[[Handler], Handler]:
    """Register a handler for a SageMaker action. It gets a checked request and returns the response (None: an empty one)."""

    def register(handler: Handler) -> Handler:
        HANDLERS[name] = handler
        return handler

    return register
