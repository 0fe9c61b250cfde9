"""Updates under load: rolling, canary, linear, and back again when an alarm goes off."""

from __future__ import annotations

import collections
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError
from scipy import stats  # type: ignore[import-untyped]

from sagemaker_local.testing import RunningServer
from tests.sagemaker_local.hosting_client import HostingClient
from tests.sagemaker_local.test_hosting import invoke
from tests.support.waiting import wait_until

RATE_PER_S = 30


@dataclass
class Load:
    """Answers of requests sent at a fixed rate, whatever the answers take."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    """When each request that was answered was sent (time.monotonic), and who answered."""
    failures: list[Exception] = field(default_factory=list)

    def since(self, moment: float) -> collections.Counter[str]:
        """Who answered the requests that were sent after a moment."""
        return collections.Counter(name for sent_at, name in self.answers if sent_at >= moment)

    def wait_for(self, count: int, since: float) -> None:
        """Until so many requests that were sent after a moment have been answered, or one failed."""
        wait_until(lambda: self.since(since).total() >= count or self.failures, f"{count} answers since {since:.3f}")


@pytest.fixture
def load(runtime: Any) -> Callable[[str], Any]:
    @contextmanager
    def under_load(endpoint: str) -> Iterator[Load]:
        load, stop = Load(), threading.Event()

        def ask() -> None:
            sent_at = time.monotonic()
            try:
                load.answers.append((sent_at, invoke(runtime, endpoint, {"sleep_s": 0.05})["name"]))
            except ClientError as error:
                load.failures.append(error)

        def send() -> None:
            threads = []
            started = time.monotonic()
            while not stop.is_set():
                threads.append(threading.Thread(target=ask))
                threads[-1].start()
                stop.wait(max(0.0, started + len(threads) / RATE_PER_S - time.monotonic()))
            for thread in threads:
                thread.join()

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield load
        finally:
            stop.set()
            sender.join()

    return under_load


def rolling(batch: int, wait_s: int = 0, alarms: tuple[str, ...] = ()) -> dict[str, Any]:
    policy = {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": batch}, "WaitIntervalInSeconds": wait_s}
    return {"RollingUpdatePolicy": policy, **auto_rollback(alarms)}


def auto_rollback(alarms: tuple[str, ...]) -> dict[str, Any]:
    return {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}} if alarms else {}


def blue_green(kind: str, wait_s: int = 1, alarms: tuple[str, ...] = (), **size: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": wait_s, **size}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}, **auto_rollback(alarms)}


@pytest.fixture
def alarm(client: Callable[[str], Any]) -> Callable[[str], None]:
    """Sets the state of an alarm that was made for this test."""
    cloudwatch, name = client("cloudwatch"), f"alarm-{uuid.uuid4().hex[:8]}"
    cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1e9, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip

    def set_state(state: str) -> None:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")

    set_state.alarm = name  # type: ignore[attr-defined]
    return set_state


def update(hosting: HostingClient, endpoint: str, config: str, deployment: dict[str, Any]) -> None:
    hosting.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, DeploymentConfig=deployment)


def test_a_rolling_update_of_four_loses_no_request(hosting: HostingClient, load: Any) -> None:
    endpoint = hosting.endpoint(NAME="old", instances=4)
    with load(endpoint) as sent:
        update(hosting, endpoint, (config := hosting.config(NAME="new", instances=4)), rolling(batch=1))
        most = 0

        def done() -> bool:
            nonlocal most
            described = hosting.sagemaker.describe_endpoint(EndpointName=endpoint)
            pending = described.get("PendingDeploymentSummary", {}).get("ProductionVariants", [{"CurrentInstanceCount": 0}])
            most = max(most, pending[0]["CurrentInstanceCount"] + described["ProductionVariants"][0]["CurrentInstanceCount"])
            return bool(described["EndpointStatus"] == "InService")

        wait_until(done, "updated")
        switched = time.monotonic()
        sent.wait_for(10, since=switched)
    assert not sent.failures
    assert set(sent.since(0)) == {"old", "new"}
    assert set(sent.since(switched)) == {"new"}
    assert most <= 5, "a batch of one needs one instance more, no more"
    described = hosting.settled(endpoint, "InService")
    assert described["EndpointConfigName"] == config
    assert described["LastDeploymentConfig"]["RollingUpdatePolicy"]["MaximumBatchSize"] == {"Type": "INSTANCE_COUNT", "Value": 1}


def test_a_canary_of_two_loses_no_request_and_gets_its_share(hosting: HostingClient, load: Any) -> None:
    endpoint = hosting.endpoint(NAME="old", instances=2)
    with load(endpoint) as sent:
        canary: dict[str, Any] = {"CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}
        update(hosting, endpoint, hosting.config(NAME="new", instances=2), blue_green("CANARY", wait_s=6, **canary))
        wait_until(lambda: _stage(hosting, endpoint) == "Baking", "the canary bakes")
        baking = time.monotonic()
        wait_until(lambda: sent.since(baking).total() >= 150 or _stage(hosting, endpoint) != "Baking", "many answers")
        during = sent.since(baking)
        hosting.settled(endpoint, "InService")
        switched = time.monotonic()
        sent.wait_for(10, since=switched)
    assert not sent.failures
    assert set(during) == {"old", "new"}
    likelihood = stats.binomtest(during["new"], during.total(), 0.5).pvalue
    assert likelihood > 1e-6, f"{during} is not half: each request is routed by chance"
    assert set(sent.since(switched)) == {"new"}


def _stage(hosting: HostingClient, endpoint: str) -> str | None:
    described = hosting.sagemaker.describe_endpoint(EndpointName=endpoint)
    if "PendingDeploymentSummary" not in described:
        return None
    return str(described["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0]["Status"])


@pytest.mark.parametrize("policy", ["rolling", "canary", "all at once"])
def test_an_alarm_while_baking_brings_the_old_version_back(hosting: HostingClient, load: Any, alarm: Any, policy: str) -> None:
    endpoint = hosting.endpoint(NAME="old", instances=2)
    before = hosting.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    deployment = {
        "rolling": rolling(batch=1, wait_s=60, alarms=(alarm.alarm,)),
        "canary": blue_green("CANARY", 60, (alarm.alarm,), CanarySize={"Type": "CAPACITY_PERCENT", "Value": 50}),
        "all at once": blue_green("ALL_AT_ONCE", 60, (alarm.alarm,)),
    }[policy]
    with load(endpoint) as sent:
        update(hosting, endpoint, hosting.config(NAME="new", instances=2), deployment)
        wait_until(lambda: _stage(hosting, endpoint) == "Baking", "it bakes")
        wait_until(lambda: "new" in sent.since(0), "the new version answers")
        alarm("ALARM")
        described = hosting.settled(endpoint, "InService")
        back = time.monotonic()
        sent.wait_for(10, since=back)
    assert not sent.failures
    assert set(sent.since(back)) == {"old"}
    assert described["EndpointConfigName"] == before
    assert alarm.alarm in described["FailureReason"]
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2


def test_a_linear_update_shifts_step_by_step(hosting: HostingClient, runtime: Any) -> None:
    endpoint = hosting.endpoint(NAME="old", instances=2)
    step: dict[str, Any] = {"LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 50}}
    update(hosting, endpoint, hosting.config(NAME="new", instances=2), blue_green("LINEAR", wait_s=1, **step))
    wait_until(lambda: _stage(hosting, endpoint) == "Baking", "the first step bakes")
    assert {invoke(runtime, endpoint)["name"] for _ in range(30)} == {"old", "new"}
    hosting.settled(endpoint, "InService")
    assert {invoke(runtime, endpoint)["name"] for _ in range(10)} == {"new"}


def test_a_rolling_update_whose_second_batch_crashes_is_taken_back(hosting: HostingClient, runtime: Any, tmp_path: Any) -> None:
    endpoint = hosting.endpoint(NAME="old", instances=2)
    config = hosting.config(NAME="new", instances=2, CRASH_IF_EXISTS=str(tmp_path / "second"))
    update(hosting, endpoint, config, rolling(batch=1, wait_s=1))
    wait_until(lambda: _stage(hosting, endpoint) == "Baking", "the first batch bakes")
    (tmp_path / "second").touch()
    described = hosting.settled(endpoint, "InService")
    assert "did not pass the ping health check" in described["FailureReason"]
    assert {invoke(runtime, endpoint)["name"] for _ in range(10)} == {"old"}
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2


def test_an_update_that_cannot_be_taken_back_says_so_serves_a_mix_and_can_be_updated_again(
    server: RunningServer, hosting: HostingClient, runtime: Any, tmp_path: Any
) -> None:
    """Neither version can start an instance once the file is there: the second batch fails, and so does the way back."""
    stop = str(tmp_path / "nothing-starts")
    endpoint = hosting.endpoint(NAME="old", instances=2, CRASH_IF_EXISTS=stop)
    update(hosting, endpoint, hosting.config(NAME="new", instances=2, CRASH_IF_EXISTS=stop), rolling(batch=1, wait_s=1))
    wait_until(lambda: _stage(hosting, endpoint) == "Baking", "the first batch bakes")
    (tmp_path / "nothing-starts").touch()
    described = hosting.settled(endpoint, "UpdateRollbackFailed")
    assert "The rollback failed too" in described["FailureReason"]
    assert {invoke(runtime, endpoint)["name"] for _ in range(30)} == {"old", "new"}
    update(hosting, endpoint, hosting.config(NAME="newest", instances=2), rolling(batch=1))
    hosting.settled(endpoint, "InService")
    assert {invoke(runtime, endpoint)["name"] for _ in range(20)} == {"newest"}
    assert len(list((server.state_dir / "endpoints" / endpoint).iterdir())) == 2, "what could not be taken back has ended too"


def test_properties_of_variants_are_kept_through_an_update_but_for_those_that_are_excluded(hosting: HostingClient) -> None:
    endpoint = hosting.endpoint(instances=1)
    desired = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2, "DesiredWeight": 3.0}
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=[desired])
    hosting.settled(endpoint, "InService")

    def updated(**retain: Any) -> tuple[int, float]:
        hosting.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=hosting.config(instances=1), **retain)
        variant = hosting.settled(endpoint, "InService")["ProductionVariants"][0]
        return variant["CurrentInstanceCount"], variant["CurrentWeight"]

    assert updated(RetainAllVariantProperties=True) == (2, 3.0)
    assert updated(RetainAllVariantProperties=True, DeploymentConfig=rolling(batch=1)) == (2, 3.0), "half of the two there are"
    with pytest.raises(ClientError, match="MaximumBatchSize must be between"):
        updated(DeploymentConfig=rolling(batch=1))
    excluded = [{"VariantPropertyType": "DesiredWeight"}]
    assert updated(RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded) == (2, 1.0)
    assert updated() == (1, 1.0)


@pytest.mark.parametrize(
    ("deployment", "said"),
    [
        (rolling(batch=3), "MaximumBatchSize must be between 5% and 50%"),
        (blue_green("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 3}), "CanarySize must be between 0% and 50%"),
        (blue_green("LINEAR"), "LinearStepSize is required"),
        ({**rolling(1), **blue_green("ALL_AT_ONCE")}, "Only one of"),
    ],
)
def test_a_wrong_policy_is_refused_before_anything_happens(hosting: HostingClient, deployment: dict[str, Any], said: str) -> None:
    endpoint = hosting.endpoint()
    with pytest.raises(ClientError, match=said):
        update(hosting, endpoint, hosting.config(instances=4), deployment)
    assert hosting.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"
