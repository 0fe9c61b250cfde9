"""Scaling policies that moto would keep and that scale nothing here, refused by name.

Put in when Application Auto Scaling is first used: to load moto's for them would cost more than they do.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from sagemaker_local.moto_bridge.patching import replace_method

if TYPE_CHECKING:
    from moto.applicationautoscaling.models import ApplicationAutoscalingBackend, FakeApplicationAutoscalingPolicy

TARGET_TRACKING = {
    "SageMakerVariantInvocationsPerInstance": ("InvocationsPerInstance", 60.0),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": ("ConcurrentRequestsPerModel", 10.0),
}
"""The predefined metrics that scale a production variant: the metric, and the seconds that are looked at."""
NOT_EMULATED = (
    "PutScalingPolicy of a production variant with {kind} is not emulated, only target tracking on {known}.",
    "PutScheduledAction of a production variant is not emulated.",
)
"""The messages, for the documentation."""
_SAGEMAKER = "sagemaker"


@functools.cache
def install() -> None:
    """Put the checks into moto, once."""
    # deferred: loads moto's Application Auto Scaling, which a server may never use
    from moto.applicationautoscaling.models import ApplicationAutoscalingBackend

    put = ApplicationAutoscalingBackend.put_scaling_policy
    schedule = ApplicationAutoscalingBackend.put_scheduled_action

    def put_scaling_policy(
        backend: ApplicationAutoscalingBackend, *arguments: Any, **named: Any
    ) -> FakeApplicationAutoscalingPolicy:
        if named["service_namespace"] == _SAGEMAKER:
            body = named.get("policy_body") or {}
            kind = (body.get("PredefinedMetricSpecification") or {}).get("PredefinedMetricType")
            if named.get("policy_type") != "TargetTrackingScaling" or kind not in TARGET_TRACKING:
                asked = kind or ("a custom metric" if "CustomizedMetricSpecification" in body else named.get("policy_type"))
                raise NotImplementedError(NOT_EMULATED[0].format(kind=asked, known=" and ".join(TARGET_TRACKING)))
        return put(backend, *arguments, **named)

    def put_scheduled_action(backend: ApplicationAutoscalingBackend, *arguments: Any, **named: Any) -> None:
        if named["service_namespace"] == _SAGEMAKER:
            raise NotImplementedError(NOT_EMULATED[1])
        schedule(backend, *arguments, **named)

    replace_method(ApplicationAutoscalingBackend, put, put_scaling_policy)
    replace_method(ApplicationAutoscalingBackend, schedule, put_scheduled_action)
