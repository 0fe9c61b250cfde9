"""status: what registry, staging, production and pipelines are now, and what somebody changed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from config.environment import ProductionAccount
from delivery.aws import accounts
from pipelines.released_model import ReleasedModel
from pipelines.status import status_text
from pipelines.status.model_status import read_status
from pipelines.status.production import ProductionEndpoint
from tests.sagemaker_local.hosting_client import ROLE, HostingClient
from tests.support.waiting import wait_until
from tests.support.worlds.registry import RegistryWorld, registry_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryWorld]:
    with registry_world(tmp_path_factory.mktemp("status")) as made:
        yield made


@pytest.fixture(scope="module")
def hosting(world: RegistryWorld) -> HostingClient:
    return HostingClient(world.client("sagemaker"), "unused")


@pytest.fixture(scope="module", autouse=True)
def promoted(world: RegistryWorld) -> None:
    """`served` serves version 1; version 2 waits for a person, version 3 was refused by its gate."""
    first = world.version("served")
    assert world.promote(first).returncode == 0
    world.version("served", settings={"seed": 2}, approved=False)
    world.version("served", settings={"seed": 3}, approved=False, verdict="failed")


def status(world: RegistryWorld, model: str) -> dict[str, Any]:
    result = world.run("status", model, "--json")
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_all_that_is_known_of_a_model(world: RegistryWorld) -> None:
    found = status(world, "served")
    assert [version["version"] for version in found["versions"]] == [3, 2, 1]
    assert found["pending_approvals"] == [2]
    assert found["production"]["version"] == found["ledger_version"] == 1
    assert found["production"]["status"] == "InService"
    assert [(v["instances"], v["desired_instances"]) for v in found["production"]["variants"]] == [(1, 1)]
    assert found["production"]["alarms"]
    assert found["drift"] == []
    assert found["lease"] is None
    text = world.run("status", "served").stdout
    assert "serves version 1" in text
    assert "approve served 2" in text
    assert "drift" not in text


def test_without_a_model_one_line_a_model(world: RegistryWorld) -> None:
    lines = world.run("status").stdout.splitlines()
    assert len([line for line in lines if line.startswith("served ")]) == 1
    assert any(line.startswith("qwen3-32b ") for line in lines)  # has a file, and was never released here


def test_staging_endpoints_with_their_expiry_and_executions_under_way(world: RegistryWorld, hosting: HostingClient) -> None:
    sagemaker = world.client("sagemaker")
    model = sagemaker.describe_endpoint_config(
        EndpointConfigName=sagemaker.describe_endpoint(EndpointName="served")["EndpointConfigName"]
    )["ProductionVariants"][0]["ModelName"]
    variant = {"VariantName": "AllTraffic", "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.p5.48xlarge"}
    tags = [{"Key": "release:model", "Value": "served"}, {"Key": "release:expires-at", "Value": "2030-01-01T00:00:00+00:00"}]
    sagemaker.create_endpoint_config(EndpointConfigName="staging-x", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="staging-x", EndpointConfigName="staging-x", Tags=tags)
    waiting = {"Name": "Wait", "Type": "Callback", "SqsQueueUrl": "", "Arguments": {}, "OutputParameters": []}
    queue = world.client("sqs").create_queue(QueueName="callbacks")["QueueUrl"]
    definition = {"Version": "2020-12-01", "Parameters": [], "Steps": [{**waiting, "SqsQueueUrl": queue}]}
    sagemaker.create_pipeline(PipelineName="release-served", PipelineDefinition=json.dumps(definition), RoleArn=ROLE)
    execution = sagemaker.start_pipeline_execution(PipelineName="release-served")["PipelineExecutionArn"]
    try:
        found = status(world, "served")
    finally:
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution, ClientRequestToken="t" * 32)
        hosting.settled("staging-x", "InService")
        sagemaker.delete_endpoint(EndpointName="staging-x")
    assert [(s["endpoint"], s["expires_at"]) for s in found["staging"]] == [("staging-x", "2030-01-01T00:00:00+00:00")]
    assert [under_way["arn"] for under_way in found["executions"]] == [execution]


def test_more_instances_by_hand_are_drift(world: RegistryWorld, hosting: HostingClient) -> None:
    def resize(count: int) -> None:
        change = {"VariantName": "AllTraffic", "DesiredInstanceCount": count}
        world.client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName="served", DesiredWeightsAndCapacities=[change]
        )
        hosting.settled("served", "InService")

    resize(2)
    found = status(world, "served")
    resize(1)
    assert found["drift"] == ["the variant AllTraffic wants 2 instances, the ledger says 1"]


def test_another_config_by_hand_is_drift_and_so_is_an_endpoint_that_is_gone(world: RegistryWorld, hosting: HostingClient) -> None:
    sagemaker = world.client("sagemaker")
    before = sagemaker.describe_endpoint(EndpointName="served")["EndpointConfigName"]
    config = sagemaker.describe_endpoint_config(EndpointConfigName=before)
    sagemaker.create_endpoint_config(EndpointConfigName="by-hand", ProductionVariants=config["ProductionVariants"])
    sagemaker.update_endpoint(EndpointName="served", EndpointConfigName="by-hand")
    hosting.settled("served", "InService")
    [line] = status(world, "served")["drift"]
    assert "serves the config by-hand (version unknown)" in line
    assert before in line
    text = world.run("status").stdout
    assert "1: see status served" in text
    sagemaker.delete_endpoint(EndpointName="served")
    wait_until(lambda: "served" not in world.endpoints(), "it is gone")
    assert status(world, "served")["drift"] == ["the endpoint served is gone; the ledger says that it serves version 1"]


def test_a_ledger_that_was_changed_is_said_by_its_event(world: RegistryWorld) -> None:
    assert world.run("reject", "served", "3").returncode == 0  # a second event, which holds the first one's digest
    key = "s3://release-local/releases/served/00000001.json"
    before = world.read(key)
    world.write(key, before.replace(b'"version": 1', b'"version": 7'))
    try:
        result = world.run("history", "served")
    finally:
        world.write(key, before)
    assert result.returncode == 1
    assert "broken at s3://release-local/releases/served/00000002.json" in result.stderr
    assert "Traceback" not in result.stderr
    assert world.run("history", "served").returncode == 0


@pytest.mark.parametrize(("code", "operation"), [("AccessDenied", "AssumeRole"), ("AccessDeniedException", "DescribeEndpoint")])
def test_where_productions_role_refuses_the_rest_is_shown_all_the_same(
    world: RegistryWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str, operation: str
) -> None:
    role = "arn:aws:iam::222222222222:role/release-production"

    def refused(self: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": f"User ann is not authorized to perform: {operation}"}}, operation)

    monkeypatch.setattr(ProductionEndpoint, "status", refused)
    monkeypatch.setattr(accounts, "production_session", lambda environment, purpose: mock.MagicMock())
    other = ProductionAccount(account_id="222222222222", role=role, serve_role=role)
    environment = world.environment.model_copy(update={"production": other})
    model = ReleasedModel("served", "aws", environment, None, world.client("sagemaker"), world.client("s3"))
    found = read_status(model)
    assert f"{role}, in whose account served is, refuses: User ann is not authorized" in found.production_refused
    assert (found.production, found.ledger_version, found.pending) == (None, 1, [2])
    status_text.show_model(found, "aws")
    text = capsys.readouterr().out
    assert f"production: not known: {role}" in text
    assert "by the ledger it serves version 1" in text
    assert "approve served 2 --comment WHY --env aws" in text


def test_a_model_whose_first_release_failed_before_it_was_registered_is_one_line_like_the_others(world: RegistryWorld) -> None:
    """It has a package group, no version and no file in config/models: nobody's status could be asked for any more."""
    world.client("sagemaker").create_model_package_group(ModelPackageGroupName="release-unborn")
    result = world.run("status")
    assert result.returncode == 0, result.stderr
    assert "unborn" in result.stdout
