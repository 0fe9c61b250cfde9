"""What an update needs while it runs: instances, and time."""

from __future__ import annotations

import pytest

from config.loader import load_environment, load_model
from config.schema import Release
from config.updates import AllAtOnce, Canary, Linear, Rolling, Update


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
