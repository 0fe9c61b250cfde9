"""Capacities, weights, metrics, alarms on them, and autoscaling."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker_local.hosting_client import ROLE, HostingClient
from tests.sagemaker_local.test_hosting import invoke
from tests.support.waiting import wait_until


def metric(client: Callable[[str], Any], endpoint: str, name: str, statistic: str) -> float:
    now = datetime.now(UTC)
    points = client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName=name, Statistics=[statistic], Period=600,
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
        StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=5),
    )["Datapoints"]  # fmt: skip
    return float(sum(point[statistic] for point in points))


@contextmanager
def busy(runtime: Any, endpoint: str, concurrency: int) -> Iterator[None]:
    """So many requests at a time, each a fifth of a second long."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            invoke(runtime, endpoint, {"sleep_s": 0.2})

    threads = [threading.Thread(target=ask) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def counts(hosting: HostingClient, endpoint: str) -> tuple[int, int]:
    variant = hosting.sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"][0]
    return variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]


def test_capacities_change_up_and_down(hosting: HostingClient, runtime: Any) -> None:
    endpoint = hosting.endpoint()
    for count in (3, 1):
        hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
        )
        hosting.settled(endpoint, "InService")
        assert counts(hosting, endpoint) == (count, count)
        assert len({invoke(runtime, endpoint)["pid"] for _ in range(30)}) == count
    with pytest.raises(ClientError, match="Variant Other not found"):
        hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint, DesiredWeightsAndCapacities=[{"VariantName": "Other", "DesiredWeight": 1}]
        )


def test_variants_get_requests_by_weight_and_by_name(hosting: HostingClient, runtime: Any, sagemaker: Any) -> None:
    config = f"two-{uuid.uuid4().hex[:8]}"
    variants = [
        {"VariantName": name, "ModelName": hosting.config(NAME=name), "InitialInstanceCount": 1, "InstanceType": "ml.g5.xlarge",
         "InitialVariantWeight": weight}
        for name, weight in (("A", 1.0), ("B", 0.0))
    ]  # fmt: skip
    sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=variants)
    endpoint = hosting.begin(config)
    hosting.settled(endpoint, "InService")
    assert {invoke(runtime, endpoint)["name"] for _ in range(20)} == {"A"}
    assert invoke(runtime, endpoint, TargetVariant="B")["name"] == "B"
    with pytest.raises(ClientError, match="Variant C not found"):
        invoke(runtime, endpoint, TargetVariant="C")
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=endpoint,
        DesiredWeightsAndCapacities=[{"VariantName": "A", "DesiredWeight": 0}, {"VariantName": "B", "DesiredWeight": 2}],
    )
    hosting.settled(endpoint, "InService")
    assert {invoke(runtime, endpoint)["name"] for _ in range(20)} == {"B"}


def test_least_outstanding_requests_avoids_the_busy_instance(hosting: HostingClient, runtime: Any, tmp_path: Path) -> None:
    routing = {"RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}}
    endpoint = hosting.endpoint(instances=2, variant=routing)
    pids: list[int] = []
    over = tmp_path / "over"
    slow = threading.Thread(target=lambda: pids.append(invoke(runtime, endpoint, {"until": str(over)})["pid"]))
    slow.start()
    wait_until(lambda: len({invoke(runtime, endpoint)["pid"] for _ in range(8)}) == 1, "one instance is avoided")
    others = {invoke(runtime, endpoint)["pid"] for _ in range(10)}
    over.touch()
    slow.join()
    assert pids[0] not in others


@pytest.mark.parametrize("strategy", ["PREFIX_AWARE", "KV_AWARE"])
def test_a_prefix_keeps_its_instance(hosting: HostingClient, runtime: Any, strategy: str) -> None:
    endpoint = hosting.endpoint(instances=3, variant={"RoutingConfig": {"RoutingStrategy": strategy}})
    system = "You are a careful assistant. " * 40
    seen = {}
    for conversation in range(6):
        pids = {invoke(runtime, endpoint, {"prompt": f"{conversation} {system}", "turn": turn})["pid"] for turn in range(8)}
        assert len(pids) == 1
        seen[conversation] = pids.pop()
    assert len(set(seen.values())) > 1


def test_invocations_are_metrics_and_an_alarm_follows_them(
    hosting: HostingClient, runtime: Any, client: Callable[[str], Any]
) -> None:
    endpoint = hosting.endpoint()
    alarm = f"errors-{endpoint}"
    client("cloudwatch").put_metric_alarm(
        AlarmName=alarm, Namespace="AWS/SageMaker", MetricName="InvocationModelErrors", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=2, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
    )  # fmt: skip
    for _ in range(5):
        invoke(runtime, endpoint, {"sleep_s": 0.05})
    for _ in range(3):
        with pytest.raises(ClientError, match="ModelError"):
            invoke(runtime, endpoint, {"status": 500})

    def state() -> str:
        return str(client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"])

    wait_until(lambda: state() == "ALARM", "the alarm goes off")
    assert metric(client, endpoint, "Invocations", "Sum") == 8
    assert metric(client, endpoint, "InvocationModelErrors", "Sum") == 3
    assert metric(client, endpoint, "Invocation5XXErrors", "Sum") == 3
    assert metric(client, endpoint, "Invocation4XXErrors", "Sum") == 0
    assert 50_000 < metric(client, endpoint, "ModelLatency", "Maximum") < 5_000_000
    assert 0 < metric(client, endpoint, "OverheadLatency", "Minimum") < 1_000_000


def test_an_alarm_on_the_new_fleet_alone_and_one_on_a_percentile_follow_their_metrics(
    hosting: HostingClient, runtime: Any, client: Callable[[str], Any]
) -> None:
    config = hosting.config()
    endpoint = hosting.begin(config)
    hosting.settled(endpoint, "InService")
    variant = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}]
    common = {"Namespace": "AWS/SageMaker", "Period": 60, "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold"}
    alarms = {
        "errors": {"MetricName": "Invocation5XXErrors", "Statistic": "Average", "Threshold": 0.5},
        "latency": {"MetricName": "ModelLatency", "ExtendedStatistic": "p99", "Threshold": 100_000},
        "median": {"MetricName": "ModelLatency", "ExtendedStatistic": "p50", "Threshold": 100_000},
    }
    for fleet in (config, "another-config"):
        dimensions = [*variant, {"Name": "EndpointConfigName", "Value": fleet}]
        for name, alarm in alarms.items():
            client("cloudwatch").put_metric_alarm(AlarmName=f"{fleet}-{name}", Dimensions=dimensions, **common, **alarm)
    no_instance = {
        "AlarmName": f"{config}-instances", "Namespace": "/aws/sagemaker/Endpoints", "MetricName": "MemoryUtilization",
        "Statistic": "SampleCount", "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching", "Dimensions": variant,
    }  # fmt: skip
    client("cloudwatch").put_metric_alarm(Period=60, **no_instance)

    def states() -> dict[str, str]:
        listed = client("cloudwatch").describe_alarms(AlarmNamePrefix=config)["MetricAlarms"]
        return {alarm["AlarmName"].removeprefix(f"{config}-"): alarm["StateValue"] for alarm in listed}

    for _ in range(20):
        invoke(runtime, endpoint)
    invoke(runtime, endpoint, {"sleep_s": 0.3})
    wait_until(lambda: states() == {"errors": "OK", "latency": "ALARM", "median": "OK", "instances": "OK"}, "one slow of many")
    for _ in range(30):
        with pytest.raises(ClientError, match="ModelError"):
            invoke(runtime, endpoint, {"status": 503})
    wait_until(lambda: states()["errors"] == "ALARM", "errors")
    others = client("cloudwatch").describe_alarms(AlarmNamePrefix="another-config")["MetricAlarms"]
    assert "ALARM" not in {alarm["StateValue"] for alarm in others}
    hosting.gone(endpoint)
    client("cloudwatch").put_metric_alarm(Period=1, **no_instance)
    wait_until(lambda: states()["instances"] == "ALARM", "no instance")


def test_autoscaling_adds_instances_under_load_and_takes_them_away(
    hosting: HostingClient, runtime: Any, client: Callable[[str], Any]
) -> None:
    endpoint = hosting.endpoint()
    target = {
        "ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }  # fmt: skip
    autoscaling = client("application-autoscaling")
    autoscaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=3, RoleARN=ROLE)
    autoscaling.put_scaling_policy(
        **target, PolicyName="p", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 2.0, "ScaleInCooldown": 0, "ScaleOutCooldown": 0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"},
        },
    )  # fmt: skip
    with busy(runtime, endpoint, 6):
        wait_until(lambda: counts(hosting, endpoint)[0] >= 2, "scaled out")
    wait_until(lambda: counts(hosting, endpoint) == (1, 1), "scaled in")
    autoscaling.deregister_scalable_target(**target)
