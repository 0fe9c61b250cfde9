"""What each update strategy asks of SageMaker, and what it needs while it runs: instances, and time."""

from __future__ import annotations

import math
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from pydantic import TypeAdapter, ValidationError

from config.errors import MisplacedValue
from config.loader import load_environment, load_model
from config.schema import Release
from config.updates import LONGEST_UPDATE_S, AllAtOnce, Canary, Linear, Rolling, Update

ALL_AT_ONCE_BACK = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}}}


@pytest.mark.parametrize(
    ("update", "config", "rollback"),
    [
        (
            AllAtOnce(strategy="all_at_once", bake_s=60),
            {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 60}}},
            ALL_AT_ONCE_BACK,
        ),
        (
            Canary(strategy="canary", canary_percent=20, bake_s=90),
            {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "CANARY",
                        "WaitIntervalInSeconds": 90,
                        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 20},
                    }
                }
            },
            ALL_AT_ONCE_BACK,
        ),
        (
            Linear(strategy="linear", step_percent=30, bake_s=120),
            {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "LINEAR",
                        "WaitIntervalInSeconds": 120,
                        "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 30},
                    }
                }
            },
            ALL_AT_ONCE_BACK,
        ),
        (
            Rolling(strategy="rolling", batch_percent=25, bake_s=150),
            {
                "RollingUpdatePolicy": {
                    "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
                    "WaitIntervalInSeconds": 150,
                    "RollbackMaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
                }
            },
            {
                "RollingUpdatePolicy": {
                    "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
                    "WaitIntervalInSeconds": 0,
                    "RollbackMaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
                }
            },
        ),
    ],
    ids=lambda value: getattr(value, "strategy", ""),
)
def test_the_boto3_deployment_config(update: Update, config: dict[str, Any], rollback: dict[str, Any]) -> None:
    assert update.deployment_config() == config
    assert update.return_config() == rollback
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("DeploymentConfig")
    for request in (config, rollback):
        assert not ParamValidator().validate(request, shape).has_errors()


@pytest.mark.parametrize(
    ("update", "waits_s"),
    [
        (AllAtOnce(strategy="all_at_once", bake_s=7), 7),
        (Canary(strategy="canary", bake_s=7), 14),
        (Linear(strategy="linear", step_percent=30, bake_s=7), 28),
        (Linear(strategy="linear", step_percent=25, bake_s=7), 28),
        (Rolling(strategy="rolling", batch_percent=50, bake_s=7), 14),
        (Rolling(strategy="rolling", batch_percent=30, bake_s=7), 28),
    ],
)
def test_the_waits_of_an_update(update: Update, waits_s: int) -> None:
    assert update.waits_s() == waits_s


def test_the_longest_update_is_sagemakers() -> None:
    sagemaker = botocore.session.get_session().get_service_model("sagemaker")
    assert sagemaker.shape_for("MaximumExecutionTimeoutInSeconds").metadata["max"] == LONGEST_UPDATE_S == 28_800


def test_what_a_model_file_need_not_say() -> None:
    assert AllAtOnce(strategy="all_at_once").bake_s == 0
    canary, linear, rolling = Canary(strategy="canary"), Linear(strategy="linear"), Rolling(strategy="rolling")
    assert (canary.canary_percent, canary.bake_s) == (10, 300)
    assert (linear.step_percent, linear.bake_s) == (25, 300)
    assert (rolling.batch_percent, rolling.bake_s) == (50, 300)


@pytest.mark.parametrize(
    ("update", "key", "allowed"),
    [
        ({"strategy": "all_at_once"}, "bake_s", (0, 3600)),
        ({"strategy": "canary"}, "canary_percent", (1, 50)),
        ({"strategy": "canary"}, "bake_s", (0, 3600)),
        ({"strategy": "linear"}, "step_percent", (10, 50)),
        ({"strategy": "linear"}, "bake_s", (0, 3600)),
        ({"strategy": "rolling"}, "batch_percent", (5, 50)),
        ({"strategy": "rolling"}, "bake_s", (0, 3600)),
    ],
)
def test_the_bounds_are_sagemakers(update: dict[str, Any], key: str, allowed: tuple[int, int]) -> None:
    """API reference of TrafficRoutingConfig and RollingUpdatePolicy."""
    read = TypeAdapter[Update](Update).validate_python
    lowest, highest = allowed
    assert getattr(read(update | {key: lowest}), key) == lowest
    assert getattr(read(update | {key: highest}), key) == highest
    for outside in (lowest - 1, highest + 1):
        with pytest.raises(ValidationError):
            read(update | {key: outside})


@pytest.mark.parametrize(
    ("update", "key", "fewest"),
    [
        (Canary(strategy="canary", canary_percent=10), "canary_percent", 10),
        (Linear(strategy="linear", step_percent=30), "step_percent", 4),
        (Rolling(strategy="rolling", batch_percent=5), "batch_percent", 20),
        (Rolling(strategy="rolling", batch_percent=50), "batch_percent", 2),
    ],
)
def test_a_share_is_one_instance_at_least(update: Update, key: str, fewest: int) -> None:
    update.check(fewest)
    with pytest.raises(MisplacedValue) as refused:
        update.check(fewest - 1)
    if fewest == 2:
        assert refused.value.location == ("update", "strategy")
        assert "production has 1; use all_at_once" in str(refused.value)
    else:
        percent = getattr(update, key)
        assert refused.value.location == ("update", key)
        assert str(refused.value) == (
            f"{percent} % of {fewest - 1} instances is less than one instance; it must be {math.ceil(100 / (fewest - 1))} or more"
        )


def test_all_at_once_takes_any_number_of_instances() -> None:
    AllAtOnce(strategy="all_at_once").check(1)


@pytest.mark.parametrize(("count", "batch"), [(1, 1), (3, 1), (4, 2), (5, 2), (7, 3)])
def test_a_batch_is_whole_instances(count: int, batch: int) -> None:
    rolling = Rolling(strategy="rolling", batch_percent=50)
    assert rolling.batch(count) == batch
    assert rolling.peak_instances(count) == count + batch
    assert rolling.longest_s(count, 100) == math.ceil(count / batch) * (100 + 300)


@pytest.mark.parametrize(
    ("update", "count", "peak", "longest_s"),
    [
        (AllAtOnce(strategy="all_at_once", bake_s=60), 4, 8, 1060),
        (Canary(strategy="canary", bake_s=60), 4, 8, 1120),
        (Linear(strategy="linear", step_percent=30, bake_s=60), 4, 8, 1240),
        (Rolling(strategy="rolling", batch_percent=50, bake_s=60), 4, 6, 2120),
        (Rolling(strategy="rolling", batch_percent=5, bake_s=60), 4, 5, 4240),
    ],
)
def test_a_second_fleet_or_one_batch_more(update: Update, count: int, peak: int, longest_s: float) -> None:
    assert update.peak_instances(count) == peak
    assert update.longest_s(count, 1000) == longest_s


@pytest.mark.parametrize("back", [False, True])
def test_a_rolling_update_that_is_taken_back_needs_no_more_instances_than_it_is_said_to(back: bool) -> None:
    """ "If you set the Value to 100%, then SageMaker uses a blue/green rollback strategy" (API reference of CapacitySize)."""
    update = Rolling(strategy="rolling", batch_percent=25)
    policy = (update.return_config() if back else update.deployment_config())["RollingUpdatePolicy"]
    assert policy["RollbackMaximumBatchSize"] == policy["MaximumBatchSize"] == {"Type": "CAPACITY_PERCENT", "Value": 25}
    assert update.peak_instances(8) == 8 + 2


@pytest.mark.parametrize(("count", "timeout_s"), [(2, 15_000), (40, 15_000)])
def test_an_update_may_take_as_long_as_its_starts_may(count: int, timeout_s: int) -> None:
    name, model = load_model("qwen3-32b")
    production = model.production.model_copy(update={"instance_count": count})
    changed = model.model_copy(update={"production": production})
    release = Release(name=name, model=changed, environment=load_environment("aws"), serving_image="i")
    assert release.start_s == 1800 + 3600 + 1800
    assert release.update_timeout_s == timeout_s  # two batches of 50 %, whatever the count
