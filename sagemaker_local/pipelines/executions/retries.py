"""Retry policies of a step: which failures are transient and so retryable, how often, and with which backoff."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_local.pipelines.steps.base import SERVICE_FAULT, THROTTLING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULT_ATTEMPTS = 5
# The service retries these two of its own accord; a policy that names them replaces this.
_AUTOMATIC: tuple[Mapping[str, Any], ...] = (
    {"ExceptionType": [SERVICE_FAULT, THROTTLING], "IntervalSeconds": 1, "BackoffRate": 2.0, "MaxAttempts": 3},
)


@dataclass
class Retries:
    """The attempts of one step. Each policy counts its own retries (developer guide, "Retry Policy for Pipeline Steps")."""

    policies: tuple[Mapping[str, Any], ...]
    started: float
    """When the first attempt started, in the clock that ``delay_s`` is given."""

    def __post_init__(self) -> None:
        self._used: dict[int, int] = {}

    def delay_s(self, exception_type: str | None, now: float) -> float | None:
        """Return seconds to wait before another attempt after this kind of failure; None when there is to be none."""
        if exception_type is None:
            return None
        for policy in (*self.policies, *_AUTOMATIC):
            if exception_type in policy.get("ExceptionType", ()):
                return self._delay_by(policy, now)
        return None

    def _delay_by(self, policy: Mapping[str, Any], now: float) -> float | None:
        used = self._used.get(id(policy), 0)
        delay = float(policy.get("IntervalSeconds", 1)) * float(policy.get("BackoffRate", 2.0)) ** used
        if "ExpireAfterMin" in policy:
            if now + delay - self.started > 60 * float(policy["ExpireAfterMin"]):
                return None
        elif used >= int(policy.get("MaxAttempts", _DEFAULT_ATTEMPTS)):
            return None
        self._used[id(policy)] = used + 1
        return delay


def not_retried(execution_arn: str, step_name: str, exception_type: str) -> str:
    """Return the sentence that SageMaker adds to the FailureReason of a retryable failure without a policy for it."""
    kind = exception_type.replace(".", "_").upper()
    return (
        f"\nRetry not appropriate on execution of step with PipelineExecutionArn {execution_arn} and StepId {step_name}. "
        f"No retry policy configured for the exception type {kind}."
    )
