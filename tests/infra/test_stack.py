"""infra/delivery.yaml against the rest of the project: what it names is there, and what is there is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines import images
from steps.evaluate_staging import publish
from tests.infra.template import REGION, Stack, template

ROOT = Path(__file__).parents[2]
STACK = Stack("release-local")


def widgets() -> list[dict[str, Any]]:
    body = re.sub(r"\$\{AWS::Region\}", REGION, template()["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    found: list[dict[str, Any]] = json.loads(body)["widgets"]
    return found


def test_the_dashboard_searches_for_sagemakers_metrics_and_for_those_that_an_evaluation_publishes() -> None:
    expressions = [metric[0]["expression"] for widget in widgets() for metric in widget["properties"]["metrics"]]
    namespaces = {re.search(r"\{([\w/]+)", expression)[1] for expression in expressions}  # type: ignore[index]
    assert namespaces == {"AWS/SageMaker", "/aws/sagemaker/Endpoints", publish._NAMESPACE}


def test_every_alarm_tells_the_topic() -> None:
    alarms = [name for name, resource in template()["Resources"].items() if resource["Type"] == "AWS::CloudWatch::Alarm"]
    assert alarms
    for name in alarms:
        assert STACK.resource(name)["AlarmActions"] == ["arn:aws:sns:us-east-1:123456789012:release"]


def test_each_path_that_triggers_a_delivery_is_one_of_the_project_and_all_that_goes_into_an_image_triggers_one() -> None:
    [trigger] = STACK.resource("Delivery")["Triggers"]
    patterns = [path for push in trigger["GitConfiguration"]["Push"] for path in push["FilePaths"]["Includes"]]
    for pattern in patterns:
        assert (ROOT / pattern.removesuffix("/**")).exists(), pattern
    covered = [pattern.removesuffix("**") for pattern in patterns]
    for dockerfile in images.DOCKERFILES.values():
        for file in images._copied(ROOT, dockerfile):
            path = file.relative_to(ROOT).as_posix()
            assert path == "LICENSE" or path.startswith(tuple(covered)), path


def test_the_build_runs_the_buildspec_of_the_project() -> None:
    assert (ROOT / STACK.resource("Build")["Source"]["BuildSpec"]).is_file()
    assert STACK.resource("Delivery")["PipelineType"] == "V2"


@pytest.mark.parametrize("prefix", ["evaluations/", "executions/", "capture/", "delivery/"])
def test_what_every_release_adds_expires_and_weights_ledger_and_state_do_not(prefix: str) -> None:
    rules = STACK.resource("Bucket")["LifecycleConfiguration"]["Rules"]
    expiring = {rule["Prefix"] for rule in rules if "ExpirationInDays" in rule}
    assert prefix in expiring
    assert not expiring & {"weights/", "releases/", "state/", "leases/", ""}
    assert [rule for rule in rules if "AbortIncompleteMultipartUpload" in rule]
