"""Step caching: a step whose compared arguments are those of an earlier success takes that success's result.

Which arguments are compared is the developer guide's "Default cache key attributes by pipeline step type"; caching is per
pipeline, the newest success within ExpireAfter counts, and it is off unless CacheConfig turns it on.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sagemaker_local.pipelines.records import StepRecord

if TYPE_CHECKING:
    from sagemaker_local.pipelines.definitions.model import StepSpec
    from sagemaker_local.pipelines.records import ExecutionRecord
    from sagemaker_local.state.store import Store

_KIND = "pipeline-step-cache"

# None: every argument is compared.
_COMPARED: dict[str, tuple[str, ...] | None] = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Training": (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    ),
    "Transform": ("DataProcessing", "Environment", "ModelName", "TransformInput"),
    "Lambda": None,
    "Callback": None,
}

_DURATION = re.compile(
    r"P?(?:(?P<y>\d+)Y)?(?:(?P<mo>\d+)M)?(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?"
    r"(?:T(?:(?P<h>\d+)H)?(?:(?P<mi>\d+)M)?(?:(?P<s>\d+)S)?)?\Z",
    re.IGNORECASE,
)
_SECONDS = {"y": 365 * 86_400, "mo": 30 * 86_400, "w": 7 * 86_400, "d": 86_400, "h": 3_600, "mi": 60, "s": 1}


@dataclass(frozen=True)
class CacheHit:
    """An earlier success: the step, and the execution that it belongs to."""

    step: StepRecord
    arn: str


@dataclass(frozen=True)
class Cache:
    """The successes of a server's pipelines, by what was compared."""

    store: Store

    def look_up(self, spec: StepSpec, arguments: Any, step: StepRecord, execution: ExecutionRecord) -> CacheHit | None:
        """Return the success to reuse, or None. Where caching is on, ``step`` is given the key to be remembered by."""
        config = spec.raw.get("CacheConfig") or {}
        if not config.get("Enabled") or spec.type not in _COMPARED:
            return None
        step.cache_key = _key(spec, arguments)
        entry = self.store.get(_scope(execution), step.cache_key)
        if entry is None or time.time() - entry["time"] > duration_s(config.get("ExpireAfter", "")):
            return None
        return CacheHit(StepRecord(**entry["step"]), entry["arn"])

    def remember(self, step: StepRecord, execution: ExecutionRecord) -> None:
        """Offer a success to later executions of the same pipeline. A result that was itself a hit is not made newer."""
        if not step.cache_hit:
            entry = {"time": time.time(), "arn": execution.arn, "step": asdict(step)}
            self.store.put(_scope(execution), step.cache_key, entry)

    def forget(self, region: str, pipeline_name: str) -> None:
        """Drop what a deleted pipeline offered."""
        kind = f"{_KIND}/{region}/{pipeline_name}"
        for key, _ in self.store.list(kind):
            self.store.delete(kind, key)


def duration_s(text: str) -> float:
    """Return seconds of an ISO 8601 duration, also in the short forms that the guide shows (``30d``, ``T16m``); none: no limit."""
    if not text:
        return float("inf")
    match = _DURATION.match(text)
    if match is None:
        return 0.0
    return float(sum(int(value) * _SECONDS[unit] for unit, value in match.groupdict().items() if value))


def _key(spec: StepSpec, arguments: Any) -> str:
    names = _COMPARED[spec.type]
    compared = arguments if names is None else {name: arguments.get(name) for name in names}
    material = [spec.name, spec.type, compared, spec.raw.get("FunctionArn"), spec.raw.get("SqsQueueUrl")]
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()


def _scope(execution: ExecutionRecord) -> str:
    return f"{_KIND}/{execution.region}/{execution.pipeline_name}"
