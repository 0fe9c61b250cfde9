"""Alarms that moto would keep and nothing here evaluates, refused by name.

Put in when CloudWatch is first used: to load moto's CloudWatch for them would cost more than they do.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from sagemaker_local.cloudwatch import composite_alarms
from sagemaker_local.errors import AlarmRuleError
from sagemaker_local.moto_bridge.patching import add_method, replace_method

if TYPE_CHECKING:
    from moto.cloudwatch.models import Alarm, CloudWatchBackend

NOT_EMULATED = (
    "PutMetricAlarm with Metrics (metric math, anomaly detection) is not emulated: give a metric.",
    "PutMetricAlarm with ExtendedStatistic is only emulated for ModelLatency of AWS/SageMaker.",
    "PutCompositeAlarm: {reason}.",
)
"""The messages, for the documentation."""


@functools.cache
def install() -> None:
    """Put the checks into moto, once."""
    # deferred: loads moto's CloudWatch, which a server may never use
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
            except AlarmRuleError as error:
                raise NotImplementedError(NOT_EMULATED[2].format(reason=error)) from error
        return put(backend, *arguments, **named)

    replace_method(CloudWatchBackend, put, put_metric_alarm)
