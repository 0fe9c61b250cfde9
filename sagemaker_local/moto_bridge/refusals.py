"""What moto would keep and nothing here acts on, refused by name: alarms that are not evaluated, policies that do not scale.

Each service's checks are put in when it is first used: to load a service for them would cost more than it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sagemaker_local.cloudwatch import composite_alarms
from sagemaker_local.moto_bridge.patching import add_method, replace_method

if TYPE_CHECKING:
    from moto.applicationautoscaling.models import ApplicationAutoscalingBackend, FakeApplicationAutoscalingPolicy
    from moto.cloudwatch.models import Alarm, CloudWatchBackend

TARGET_TRACKING = {
    "SageMakerVariantInvocationsPerInstance": ("InvocationsPerInstance", 60.0),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": ("ConcurrentRequestsPerModel", 10.0),
}
"""The predefined metrics that scale a production variant: the metric, and the seconds that are looked at."""
NOT_EMULATED = (
    "PutMetricAlarm with Metrics (metric math, anomaly detection) is not emulated: give a metric.",
    "PutMetricAlarm with ExtendedStatistic is only emulated for ModelLatency of AWS/SageMaker.",
    "PutCompositeAlarm: {reason}.",
    "PutScalingPolicy of a production variant with {kind} is not emulated, only target tracking on {known}.",
    "PutScheduledAction of a production variant is not emulated.",
)
"""The messages, for the documentation."""
_SAGEMAKER = "sagemaker"
_put_in: set[str] = set()


def prepare(service: str) -> None:
    """Put a service's checks in, by its signing name, when it is used for the first time."""
    if service in _CHECKS and service not in _put_in:
        _put_in.add(service)
        _CHECKS[service]()


def _cloudwatch() -> None:
    from moto.cloudwatch.models import CloudWatchBackend
    from moto.cloudwatch.responses import CloudWatchResponse

    # moto's method reads a composite alarm's rule too ("re-use this method for composite alarms as well"), but is not called for one.
    add_method(CloudWatchResponse, "put_composite_alarm", CloudWatchResponse.put_metric_alarm)
    put = CloudWatchBackend.put_metric_alarm

    def put_metric_alarm(backend: CloudWatchBackend, *arguments: Any, **named: Any) -> Alarm:
        if named.get("metric_data_queries"):
            raise NotImplementedError(NOT_EMULATED[0])
        latency = (named.get("namespace"), named.get("metric_name")) == ("AWS/SageMaker", "ModelLatency")
        if named.get("extended_statistic") and not latency:
            raise NotImplementedError(NOT_EMULATED[1])
        if rule := named.get("rule"):
            try:
                composite_alarms.holds(rule, lambda name: "OK")
            except composite_alarms.RuleError as error:
                raise NotImplementedError(NOT_EMULATED[2].format(reason=error)) from error
        return put(backend, *arguments, **named)

    replace_method(CloudWatchBackend, put, put_metric_alarm)


def _autoscaling() -> None:
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
                raise NotImplementedError(NOT_EMULATED[3].format(kind=asked, known=" and ".join(TARGET_TRACKING)))
        return put(backend, *arguments, **named)

    def put_scheduled_action(backend: ApplicationAutoscalingBackend, *arguments: Any, **named: Any) -> None:
        if named["service_namespace"] == _SAGEMAKER:
            raise NotImplementedError(NOT_EMULATED[4])
        schedule(backend, *arguments, **named)

    replace_method(ApplicationAutoscalingBackend, put, put_scaling_policy)
    replace_method(ApplicationAutoscalingBackend, schedule, put_scheduled_action)


_CHECKS: dict[str, Callable[[], None]] = {"monitoring": _cloudwatch, "application-autoscaling": _autoscaling}
