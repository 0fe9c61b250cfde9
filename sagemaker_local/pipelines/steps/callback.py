"""The Callback step: a message to an SQS queue, and then a wait for somebody to say how it went."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import StepFailed, StepStopped, ValidationError
from sagemaker_local.pipelines.definitions.functions import resolve
from sagemaker_local.pipelines.records import random_word
from sagemaker_local.pipelines.steps.base import StepResult
from sagemaker_local.pipelines.steps.lambda_step import output_parameters, shown

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.pipelines.steps.base import StepRun

_TOKEN_LENGTH = 10
_TIMEOUT_S = 7 * 86_400.0  # a callback that is never answered fails after seven days


@dataclass
class _Pending:
    """A callback step that waits."""

    execution_arn: str
    declared: list[dict[str, Any]]
    answered: threading.Event = field(default_factory=threading.Event)
    values: dict[str, Any] | None = None
    reason: str = ""


@dataclass
class Callbacks:
    """The callback steps of a server that wait, by their tokens."""

    context: Context
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, execution_arn: str, declared: list[dict[str, Any]]) -> tuple[str, _Pending]:
        """Return a new token, and what it will answer."""
        token, pending = random_word(_TOKEN_LENGTH), _Pending(execution_arn, declared)
        with self._lock:
            self._pending[token] = pending
        return token, pending

    def close(self, token: str) -> None:
        """Forget a step that does not wait any more."""
        with self._lock:
            self._pending.pop(token, None)

    def succeed(self, token: str, outputs: dict[str, str]) -> str:
        """End the step well, with these output parameters; returns the execution's ARN.

        Raises:
            ValidationError: nothing waits for this token, or a declared output is missing or of another type.
        """
        pending = self._take(token)
        try:
            pending.values = output_parameters(pending.declared, outputs)
        except StepFailed as failure:
            with self._lock:
                self._pending[token] = pending
            raise ValidationError(failure.reason.removeprefix("ClientError: ")) from failure
        pending.answered.set()
        return pending.execution_arn

    def fail(self, token: str, reason: str) -> str:
        """Fail the step; returns the execution's ARN. Raises as ``succeed`` does."""
        pending = self._take(token)
        pending.reason = reason
        pending.answered.set()
        return pending.execution_arn

    def _take(self, token: str) -> _Pending:
        with self._lock:
            pending = self._pending.pop(token, None)
        if pending is None:
            raise ValidationError(f"No pipeline execution step waits for the callback token {token}, or it has ended already.")
        return pending


def run(run: StepRun) -> StepResult:
    """Send the message and wait for SendPipelineExecutionStepSuccess or -Failure.

    When the execution is being stopped a second message says so, and the execution stops once the step is answered: the
    documented behaviour ("Callback step", stopping behavior).
    """
    callbacks = run.context.part(Callbacks)
    queue_url = str(resolve(run.spec.raw["SqsQueueUrl"], run.scope))
    token, pending = callbacks.open(run.execution.arn, run.spec.raw.get("OutputParameters") or [])
    metadata: dict[str, Any] = {"CallbackToken": token, "SqsQueueUrl": queue_url}
    try:
        _send(run, queue_url, {"token": token, "arguments": run.arguments or {}, "Status": "Executing"})
        run.when_stopping(lambda: _send(run, queue_url, {"token": token, "Status": "Stopping"}))
        run.report({"Callback": metadata})
        if not pending.answered.wait(_TIMEOUT_S):
            raise StepFailed("ClientError: The callback step was not answered within 7 days.")
    finally:
        callbacks.close(token)
    if run.stopping.is_set():
        raise StepStopped
    if pending.values is None:
        raise StepFailed(pending.reason)
    run.report({"Callback": {**metadata, "OutputParameters": shown(pending.values)}})
    return StepResult({"OutputParameters": pending.values})


def _send(run: StepRun, queue_url: str, message: dict[str, Any]) -> None:
    sqs = run.context.client("sqs", run.region, run.execution.role_arn)
    body = {"pipelineExecutionArn": run.execution.arn, **message}
    try:
        sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(body))
    except sqs.exceptions.ClientError as error:
        raise StepFailed(f"ClientError: Failed to invoke sqs:SendMessage. Error Details: {error}") from error
