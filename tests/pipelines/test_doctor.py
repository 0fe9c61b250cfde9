"""`doctor`: an account with everything is ok; each thing that is missing is named, with what to do about it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.run import main
from tests.local.conftest import ROOT, Stack
from tests.pipelines.quota_service import answering, listed_quotas
from tests.support import in_process

ACCOUNT = "123456789012"
REGION = "us-east-1"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "SERVICE"}}],
}
PLAN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-plan/h100"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
QUOTAS = {"p5_48xlarge": 3.0, "job_m5_4xlarge": 1.0, "job_c5_4xlarge": 1.0, "job_t3_medium": 1.0}
ENOUGH = {
    "ListServiceQuotas": {"Quotas": []},
    "ListAWSDefaultServiceQuotas": listed_quotas(**QUOTAS),
    "DescribeTrainingPlan": {
        "TrainingPlanArn": PLAN,
        "TrainingPlanName": "h100",
        "Status": "Active",
        "TargetResources": ["endpoint"],
        "EndTime": 1_900_000_000,
        "AvailableInstanceCount": 3,
    },
}


@dataclass
class Account:
    """What a stack makes in an account, made here in moto's."""

    stack: Stack
    environment: dict[str, Any]

    def doctor(
        self, model: str, answers: dict[str, Any], *, credentials: bool = True, **changes: Any
    ) -> tuple[int, list[dict[str, str]]]:
        """The command's exit code and findings, with the environment file changed so."""
        file = self.stack.state / "aws.yaml"
        file.write_text(yaml.safe_dump({**self.environment, **changes}))
        with answering(answers) as url:
            variables = {
                **self.stack.environment,
                "AWS_ENDPOINT_URL": self.stack.services["sagemaker_local"]["url"],
                "AWS_ENDPOINT_URL_SERVICE_QUOTAS": url,
                "AWS_ENDPOINT_URL_SAGEMAKER": url,
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            if credentials:
                variables |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
            result = in_process.called(main, ["doctor", model, "--env", str(file), "--json"], variables)
        assert "Traceback" not in result.stderr, result.stderr
        return result.returncode, json.loads(result.stdout)["findings"]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    stack = Stack(tmp_path_factory.mktemp("doctor"))
    stack.up()
    try:
        iam, ecr = stack.client("iam"), stack.client("ecr")
        for duty in ("pipeline", "fetch", "evaluate", "promote", "serve"):
            iam.create_role(RoleName=f"release-{duty}", AssumeRolePolicyDocument=trust("sagemaker.amazonaws.com"))
        iam.create_role(RoleName="release-untrusting", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
        stack.client("s3").put_bucket_versioning(Bucket="release-local", VersioningConfiguration={"Status": "Enabled"})
        for name in ("release-steps", "release-serving"):
            ecr.create_repository(repositoryName=name)
            ecr.put_image(
                repositoryName=name,
                imageTag="1",
                imageManifest=json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "name": name}),
            )
        ec2 = stack.client("ec2")
        subnets = ec2.describe_subnets()["Subnets"]
        registry = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
        yield Account(
            stack,
            {
                "kind": "aws",
                "region": REGION,
                "account_id": ACCOUNT,
                "bucket": "release-local",
                "roles": {
                    duty: f"arn:aws:iam::{ACCOUNT}:role/release-{duty}"
                    for duty in ("pipeline", "fetch", "evaluate", "promote", "serve")
                },
                "images": {"steps": f"{registry}/release-steps:1", "serving": f"{registry}/release-serving:1"},
                "hub_endpoint": stack.services["local_hub"]["url"],
                "kms_key": stack.client("kms").create_key()["KeyMetadata"]["Arn"],
                "subnets": [subnet["SubnetId"] for subnet in subnets[:2]],
                "security_groups": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
                "capacity_reservations": [{"arn": PLAN, "instance_type": "ml.p5.48xlarge"}],
            },
        )
    finally:
        stack.run("local", "down")


def trust(service: str) -> str:
    return json.dumps(TRUST).replace("SERVICE", service)


def model_file(account: Account, name: str, *, alarms: list[str], hub: dict[str, Any] | None = None) -> str:
    def on_aws(content: dict[str, Any]) -> None:
        content["weights"]["hub"] = "huggingface.co"
        content["serving"]["image"] = "project"
        content["production"] |= {"instance_count": 2, "update": {"strategy": "rolling"}, "alarms": alarms}

    return account.stack.simulated_model(name, settings={}, change=on_aws, hub=hub)


def test_an_account_with_everything_is_ok(account: Account) -> None:
    account.stack.client("cloudwatch").put_metric_alarm(
        AlarmName="mine",
        MetricName="m",
        Namespace="n",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
    )
    code, found = account.doctor(model_file(account, "open", alarms=["mine"]), ENOUGH)
    assert [one for one in found if one["status"] != "ok"] == []
    assert code == 0
    assert [one["subject"] for one in found] == [
        "credentials", *["roles"] * 5, "bucket", "key", "images", "images", "network", *["quotas"] * 4, "reservations", "models", "alarms",
    ]  # fmt: skip
    assert "ml.p5.48xlarge for endpoint usage: 3 of 3" in next(one["message"] for one in found if one["subject"] == "quotas")


def test_each_thing_that_is_missing_is_named_with_what_to_do(account: Account) -> None:
    registry = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    kms = account.stack.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.disable_key(KeyId=key.rsplit("/", 1)[-1])  # moto takes no ARN here
    role = f"arn:aws:iam::{ACCOUNT}:role/release"
    code, found = account.doctor(
        model_file(account, "gated", alarms=["absent"], hub={"gated": "manual"}),
        {
            **ENOUGH,
            "ListServiceQuotas": listed_quotas(p5_48xlarge=2.0),
            "DescribeTrainingPlan": {**ENOUGH["DescribeTrainingPlan"], "Status": "Expired"},
        },
        roles={**account.environment["roles"], "fetch": f"{role}-absent", "serve": f"{role}-untrusting"},
        bucket="release-of-somebody",
        kms_key=key,
        images={"steps": f"{registry}/release-steps:2", "serving": f"{registry}/release-serving:1"},
        subnets=account.environment["subnets"][:1],
    )
    assert code == 1
    bad = {(one["status"], one["subject"]): f"{one['message']} → {one['to_do']}" for one in found if one["status"] != "ok"}
    for (status, subject), parts in {
        ("fail", "roles"): ["release-untrusting does not trust sagemaker.amazonaws.com"],
        ("fail", "bucket"): ["release-of-somebody", "infra/delivery.yaml"],
        ("fail", "key"): ["is Disabled", "aws kms enable-key"],
        ("fail", "images"): ["release-steps:2", "build and push it"],
        ("warn", "network"): ["all subnets are in", "two zones or more"],
        ("fail", "quotas"): ["3 needed", "--quota-code L-00000001 --desired-value 3"],
        ("fail", "reservations"): ["is Expired", "wait until it is Active"],
        ("fail", "models"): ["gated"],
        ("fail", "alarms"): ["there is no alarm absent", "production.alarms of gated"],
    }.items():
        assert all(part in bad[status, subject] for part in parts), bad.get((status, subject))
    absent = next(one for one in found if "release-absent" in one["message"])
    assert absent["status"] == "fail"
    assert "create or update the stack" in absent["to_do"]


def test_quotas_that_may_not_be_read_are_not_taken_for_enough(account: Account) -> None:
    code, found = account.doctor(
        model_file(account, "closed", alarms=[]), {"DescribeTrainingPlan": ENOUGH["DescribeTrainingPlan"]}
    )
    quotas = [one for one in found if one["subject"] == "quotas"]
    assert code == 1
    assert [one["status"] for one in quotas] == ["fail"]
    assert "servicequotas:ListServiceQuotas" in quotas[0]["to_do"]


@pytest.mark.parametrize(
    ("account_id", "credentials", "says"),
    [
        ("111122223333", True, "is of account 123456789012, the environment file is for 111122223333"),
        (ACCOUNT, False, "AWS does not know who you are"),
    ],
)
def test_without_the_right_credentials_nothing_else_is_asked(
    account: Account, account_id: str, credentials: bool, says: str
) -> None:
    changes = json.loads(json.dumps(account.environment).replace(ACCOUNT, account_id))
    code, found = account.doctor("qwen3-32b", ENOUGH, credentials=credentials, **changes)
    assert code == 1
    assert [one["subject"] for one in found] == ["credentials"]
    assert says in found[0]["message"]
    assert found[0]["to_do"]


def test_without_credentials_a_plan_still_knows_what_the_hub_says(account: Account) -> None:
    file = account.stack.state / "plan.yaml"
    file.write_text(yaml.safe_dump({**account.environment, "hub_token_secret": "release/hugging-face-token"}))
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.run", "plan", model_file(account, "unknown", alarms=[]), "--env", str(file), "--json"],
        cwd=ROOT, env={**account.stack.environment, "AWS_EC2_METADATA_DISABLED": "true"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    planned = json.loads(result.stdout)
    [fetch] = [step for step in planned["steps"] if step["name"] == "FetchWeights"]
    assert fetch["what"].startswith("0.0 GB from the Hub")
    assert len(planned["unknown"]) == 1
    assert planned["unknown"][0].startswith("AWS: there are no credentials")


def test_on_this_machine_it_looks_at_what_matters_here(tmp_path: Path) -> None:
    result = Stack(tmp_path).run("doctor")
    assert result.returncode == 0, result.stdout + result.stderr
    subjects = [line.split()[1] for line in result.stdout.splitlines() if "→" not in line]
    assert {"packages", "loopback", "proxy", "memory", "cores", "disk", "services"} <= set(subjects)


def test_on_this_machine_a_proxy_in_the_way_is_named(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    variables = {**stack.environment, "http_proxy": "http://proxy.example.com:3128", "no_proxy": "example.com"}
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.run", "doctor"], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0
    assert "export NO_PROXY=127.0.0.1,localhost" in result.stdout
