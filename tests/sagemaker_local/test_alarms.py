"""Composite alarms, and what is refused because nothing would act on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_local.cloudwatch.composite_alarms import holds
from sagemaker_local.errors import AlarmRuleError
from tests.support.waiting import wait_until

STATES = {"a": "ALARM", "b": "OK", "c d": "INSUFFICIENT_DATA"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ALARM(a)", True),
        ('ALARM("a") AND OK(b)', True),
        ("ALARM(b) OR INSUFFICIENT_DATA('c d')", True),
        ("NOT ALARM(a) OR FALSE", False),
        ("ALARM(b) AND FALSE OR TRUE", True),
        ("ALARM(b) AND (FALSE OR TRUE)", False),
        ("NOT (ALARM(b) OR NOT ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:a))", True),
    ],
)
def test_rules_of_composite_alarms(rule: str, expected: bool) -> None:
    assert holds(rule, STATES.__getitem__) is expected


@pytest.mark.parametrize("rule", ["", "ALARM(a", "ALARM(a) OK(b)", "(TRUE", "AND TRUE", "WARNING(a)"])
def test_a_rule_that_is_none_is_an_error(rule: str) -> None:
    with pytest.raises(AlarmRuleError, match="cannot be read at"):
        holds(rule, STATES.__getitem__)


def test_a_composite_alarm_follows_its_alarms(client: Callable[[str], Any]) -> None:
    cloudwatch, name = client("cloudwatch"), f"alarm-{uuid.uuid4().hex[:8]}"
    for half in ("one", "two"):
        cloudwatch.put_metric_alarm(
            AlarmName=f"{name}-{half}", Namespace="own", MetricName=name, Statistic="Sum", Period=60, EvaluationPeriods=1,
            Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
        )  # fmt: skip
    cloudwatch.put_composite_alarm(AlarmName=name, AlarmRule=f'ALARM("{name}-one") AND ALARM({name}-two)')

    def state() -> str:
        found = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
        return str(found[0]["StateValue"])

    wait_until(lambda: state() == "OK", "it is evaluated")
    for half in ("one", "two"):
        assert state() == "OK"
        cloudwatch.set_alarm_state(AlarmName=f"{name}-{half}", StateValue="ALARM", StateReason="test")
    wait_until(lambda: state() == "ALARM", "both are in ALARM")


def test_what_nothing_would_act_on_is_refused_by_name(client: Callable[[str], Any]) -> None:
    alarm = {"AlarmName": "x", "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}
    with pytest.raises(ClientError, match=r"NotImplemented.*metric math"):
        client("cloudwatch").put_metric_alarm(**alarm, Metrics=[{"Id": "e", "Expression": "a/b"}])
    percentile = {"Namespace": "own", "MetricName": "m", "Period": 60, "ExtendedStatistic": "p99"}
    with pytest.raises(ClientError, match=r"NotImplemented.*ExtendedStatistic"):
        client("cloudwatch").put_metric_alarm(**alarm, **percentile)
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/e/variant/v",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling = client("application-autoscaling")
    steps = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]}
    with pytest.raises(ClientError, match=r"NotImplemented.*StepScaling"):
        scaling.put_scaling_policy(PolicyName="p", **target, PolicyType="StepScaling", StepScalingPolicyConfiguration=steps)
    custom = {
        "TargetValue": 1.0,
        "CustomizedMetricSpecification": {"MetricName": "m", "Namespace": "own", "Statistic": "Average"},
    }
    with pytest.raises(ClientError, match=r"NotImplemented.*custom metric"):
        scaling.put_scaling_policy(
            PolicyName="p", **target, PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=custom
        )
    with pytest.raises(ClientError, match=r"NotImplemented.*PutScheduledAction"):
        scaling.put_scheduled_action(ScheduledActionName="a", Schedule="rate(1 day)", **target)
