"""Production in another account: registry, bucket, ledger and staging here, the endpoint there, and the commands see both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from delivery.aws import accounts
from pipelines.executions.execution import Executions
from tests.support.waiting import WHOLE_SYSTEM_S
from tests.support.worlds.registry import BUCKET, RegistryWorld, registry_world

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

THERE = "222222222222"
ROLE = f"arn:aws:iam::{THERE}:role/release-production"
MODEL = "abroad"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryWorld]:
    production = {"account_id": THERE, "role": ROLE, "serve_role": f"arn:aws:iam::{THERE}:role/release-serve"}
    with registry_world(tmp_path_factory.mktemp("accounts"), production=production) as made:
        yield made


@pytest.fixture(scope="module")
def there(world: RegistryWorld) -> Callable[[str], Any]:
    """Clients of production's account."""
    given = world.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="test")["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    return lambda service: world.server.client(service, **keys)


def test_a_group_policy_lets_productions_role_deploy_and_nobody_else(world: RegistryWorld) -> None:
    assert world.environment.production is not None
    policy = accounts.group_policy(world.environment, "release-abroad")
    assert policy is not None
    assert {statement["Principal"]["AWS"] for statement in policy["Statement"]} == {ROLE}
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert "sagemaker:CreateModel" in actions
    assert "sagemaker:UpdateModelPackage" not in actions  # approving is not production's
    assert accounts.group_policy(world.environment.model_copy(update={"production": None}), "release-abroad") is None


def test_production_is_there_and_everything_else_here(world: RegistryWorld, there: Callable[[str], Any]) -> None:
    versions = [world.version(MODEL) for _ in range(2)]
    for version in versions:
        result = world.promote(version)
        assert result.returncode == 0, result.stderr
    assert world.endpoints() == []
    assert world.endpoints(there("sagemaker")) == [MODEL]
    config = there("sagemaker").describe_endpoint(EndpointName=MODEL)["EndpointConfigName"]
    variant = there("sagemaker").describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]
    model = there("sagemaker").describe_model(ModelName=variant["ModelName"])
    assert model["PrimaryContainer"]["ModelPackageName"] == versions[1].arn
    assert THERE not in versions[1].arn
    assert model["ExecutionRoleArn"] == f"arn:aws:iam::{THERE}:role/release-serve"
    assert [event.version for event in world.ledger(MODEL) if event.kind == "promoted"] == [1, 2]
    assert world.client("s3").head_object(Bucket=BUCKET, Key=f"leases/{MODEL}.json")
    question = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    answer = there("sagemaker-runtime").invoke_endpoint(
        EndpointName=MODEL, ContentType="application/json", Body=json.dumps(question)
    )
    assert json.loads(answer["Body"].read())["choices"]


def test_status_looks_there(world: RegistryWorld) -> None:
    found = json.loads(world.run("status", MODEL, "--json").stdout)
    assert found["production"]["account_id"] == THERE
    assert (found["production"]["status"], found["production"]["version"]) == ("InService", 2)
    assert found["drift"] == []


def test_a_release_writes_the_policy(world: RegistryWorld) -> None:
    version = world.version("written")
    world.inside(lambda: Executions(world.environment).publish(version.release, f"s3://{BUCKET}/releases/written/x/release.json"))
    stored = world.client("sagemaker").get_model_package_group_policy(ModelPackageGroupName="release-written")["ResourcePolicy"]
    assert json.loads(stored) == accounts.group_policy(world.environment, "release-written")


def test_without_the_policy_the_version_cannot_be_deployed_and_that_is_said(
    world: RegistryWorld, there: Callable[[str], Any]
) -> None:
    version = world.version("unshared")
    world.client("sagemaker").delete_model_package_group_policy(ModelPackageGroupName="release-unshared")
    result = world.promote(version)
    assert result.returncode == 1
    assert "no resource-based policy allows the action" in result.stderr
    assert "unshared" not in world.endpoints(there("sagemaker"))
    assert world.ledger("unshared")[-1].kind == "refused"
