"""What a person sees when the section `production` asks for what SageMaker would refuse, and what reaches SageMaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from pydantic import TypeAdapter

from config.routing import Routing
from config.updates import Update
from tests.config.test_loader import QWEN, line_of, refusal

SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")
UPDATE = "update: {strategy: rolling, batch_percent: 50, bake_s: 300}"
COUNT = "instance_count: 2"


@pytest.mark.parametrize(
    ("written", "instead", "at", "says"),
    [
        (COUNT, "instance_count: 1", UPDATE, ["production.update.strategy", "'rolling'", "use all_at_once"]),
        (UPDATE, "update: {strategy: rolling, batch_percent: 20}", None, ["update.batch_percent: 20 % of 2", "50 or more"]),
        (UPDATE, "update: {strategy: canary}", None, ["update.canary_percent: 10 % of 2", "50 or more"]),
        (UPDATE, "update: {strategy: linear, step_percent: 30}", None, ["update.step_percent: 30 % of 2", "50 or more"]),
        (UPDATE, "update: {strategy: rolling, batch_percent: 60}", None, ["60 will not do", "50"]),
        (UPDATE, UPDATE + "\n  watch_s: 3600\n  guards: {period_s: 45}", "guards", ["no period of 45 s"]),
        (
            UPDATE,
            UPDATE + "\n  autoscaling: {min_instances: 4, max_instances: 8, concurrent_requests_per_instance: 32}",
            COUNT,
            ["production.instance_count: 2 is outside autoscaling's 4 to 8"],
        ),
        (
            COUNT,
            "instance_count: 4\n  autoscaling: {min_instances: 1, max_instances: 8, concurrent_requests_per_instance: 32}",
            UPDATE,
            ["production.update.strategy", "production has 1", "autoscaling.min_instances"],
        ),
        ("alarms: []", f"alarms: [{', '.join('abcdefghi')}]", None, ["9 alarms of yours and 2", "10 at most"]),
        (COUNT, "instance_count: 10\n  watch_s: 3600", UPDATE, []),
        (UPDATE, UPDATE + "\n  routing: {strategy: kv_aware}", "routing", ["'kv_aware' will not do", "'prefix_aware'"]),
    ],
)
def test_what_sagemaker_refuses_is_refused_in_the_model_file_with_the_line(
    tmp_path: Path, written: str, instead: str, at: str | None, says: list[str]
) -> None:
    text = QWEN.replace(written, instead)
    if not says:
        (tmp_path / "model.yaml").write_text(text)
        from config.loader import load_model

        load_model(str(tmp_path / "model.yaml"))
        return
    [problem] = refusal(tmp_path, text)
    assert problem.startswith(f":{line_of(text, at or instead.splitlines()[0])}: ")
    for part in says:
        assert part in problem


def test_waits_that_outlast_the_step_are_refused(tmp_path: Path) -> None:
    text = QWEN.replace(COUNT, "instance_count: 20").replace(UPDATE, "update: {strategy: linear, step_percent: 10, bake_s: 3600}")
    [problem] = refusal(tmp_path, text)
    assert "update.bake_s: all waits of an update together are 36000 s; at most 28800 s" in problem


@pytest.mark.parametrize("strategy", ["all_at_once", "canary", "linear", "rolling"])
def test_the_way_back_is_a_deployment_config_too(strategy: str) -> None:
    config = TypeAdapter(Update).validate_python({"strategy": strategy}).return_config()
    report = ParamValidator().validate(config, SAGEMAKER.shape_for("DeploymentConfig"))
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize(
    ("routing", "sagemakers"),
    [
        ({"strategy": "least_outstanding"}, "LEAST_OUTSTANDING_REQUESTS"),
        ({"strategy": "random"}, "RANDOM"),
        ({"strategy": "prefix_aware", "prefix_bytes": 2048}, "PREFIX_AWARE"),
    ],
)
def test_every_routing_strategy_is_one_that_botocore_accepts(routing: dict[str, Any], sagemakers: str) -> None:
    config = TypeAdapter(Routing).validate_python(routing).routing_config()
    assert config["RoutingStrategy"] == sagemakers
    report = ParamValidator().validate(config, SAGEMAKER.shape_for("ProductionVariantRoutingConfig"))
    assert not report.has_errors(), report.generate_report()
