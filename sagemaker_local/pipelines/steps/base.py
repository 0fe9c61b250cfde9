"""What a step type is: a function from a step and its execution to properties, and the ways in which it can end."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sagemaker_local.errors import AwsError, NotImplementedHere, StepFailed
from sagemaker_local.pipelines.records import random_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sagemaker_local.context import Context
    from sagemaker_local.pipelines.definitions.functions import ExpressionScope
    from sagemaker_local.pipelines.definitions.graph import Graph, StepEnding
    from sagemaker_local.pipelines.definitions.model import StepSpec
    from sagemaker_local.pipelines.records import ExecutionRecord

_JOB_NAME_LIMIT = 63
_LOGGER = logging.getLogger(__name__)

# How errors count for retry policies (developer guide, "Retry Policy for Pipeline Steps").
SERVICE_FAULT = "Step.SERVICE_FAULT"
THROTTLING = "Step.THROTTLING"
RESOURCE_LIMIT = "SageMaker.RESOURCE_LIMIT"
CAPACITY_ERROR = "SageMaker.CAPACITY_ERROR"
JOB_INTERNAL_ERROR = "SageMaker.JOB_INTERNAL_ERROR"


@dataclass
class StepRun:
    """One attempt to run a step, and what it may use. ``run`` functions of step types get nothing else."""

    context: Context
    execution: ExecutionRecord
    spec: StepSpec
    scope: ExpressionScope
    arguments: Any
    """The step's Arguments with every function resolved (a condition's: as written)."""
    report: Callable[[dict[str, Any]], None]
    """Show this Metadata and the status Executing from now on."""
    nested: Callable[[Graph, int, Mapping[str, dict[str, Any]]], tuple[dict[str, StepEnding], dict[str, Any]]]
    """(graph, how many at once, IterationContexts) → how each step of the graph ended, and the properties of those that
    succeeded."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the execution is being stopped."""
    on_stop: list[Callable[[], None]] = field(default_factory=list)
    """Called, each in a thread of its own, when the execution is being stopped; see ``when_stopping``."""

    @property
    def region(self) -> str:
        """The region that the execution runs in."""
        return self.execution.region

    def when_stopping(self, stop: Callable[[], None]) -> None:
        """Call ``stop`` when the execution is being stopped, now if it already is. It may be called twice."""
        self.on_stop.append(stop)
        if self.stopping.is_set():
            threading.Thread(target=quietly, args=(stop,), name=f"stop {self.spec.name}", daemon=True).start()

    def call(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Call a SageMaker action as the pipeline's role would.

        Raises:
            StepFailed: the action failed; worded as SageMaker words it.
        """
        try:
            return self.context.invoke(self.region, action, request, self.execution.role_arn)
        except AwsError as error:
            kind = _exception_type(error)
            reason = f"ClientError: Failed to invoke sagemaker:{action}. Error Details: {error.message}"
            raise StepFailed(reason, kind) from error

    def resource_name(self, given: str | None, limit: int = _JOB_NAME_LIMIT) -> str:
        """Return the name of the resource that the step creates.

        ``pipelines-EXECUTION-STEP-RANDOM``; or, when the definition gives a name (the SDK's
        ``use_custom_job_prefix``), that name as the prefix: ``GIVEN-EXECUTION-RANDOM``.
        """
        suffix = random_word(10)
        if given:
            room = limit - len(self.execution.id) - len(suffix) - 2
            return f"{given[:room].rstrip('-')}-{self.execution.id}-{suffix}"
        start = f"pipelines-{self.execution.id}-"
        room = limit - len(start) - len(suffix) - 1
        step = self.spec.name.replace("_", "-")[:room].strip("-")
        return f"{start}{step}-{suffix}"

    def tags(self, given: list[dict[str, str]] | None) -> list[dict[str, str]]:
        """Return the tags of a resource: the pipeline's, overridden by those in the step's own arguments."""
        merged = {tag["Key"]: tag["Value"] for tag in [*self.execution.tags, *(given or [])]}
        return [{"Key": key, "Value": value} for key, value in merged.items()]


@dataclass(frozen=True)
class StepResult:
    """A step that succeeded: what ``Steps.NAME…`` refers to, and a condition's outcome."""

    properties: Any = None
    outcome: bool | None = None


def quietly(stop: Callable[[], None]) -> None:
    """Call a stop function; what it stops may have ended by itself, which is as good."""
    try:
        stop()
    except Exception:
        _LOGGER.info("nothing left to stop", exc_info=True)


class RunStep(Protocol):
    """Run a step to its end.

    Raises:
        StepFailed: the step failed.
        StepStopped: it was stopped first.
    """

    def __call__(self, run: StepRun) -> StepResult:
        """Run it."""
        ...


def _exception_type(error: AwsError) -> str | None:
    if error.code in ("ThrottlingException", "Throttling", "TooManyRequestsException"):
        return THROTTLING
    if error.code == "ResourceLimitExceeded":
        return RESOURCE_LIMIT
    if error.status >= 500 and not isinstance(error, NotImplementedHere):  # which stays so, however often it is tried
        return SERVICE_FAULT
    return None
