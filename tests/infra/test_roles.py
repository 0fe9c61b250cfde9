"""The roles of infra/delivery.yaml: what their policies grant, against what the code calls.

That nothing is missing is checked wherever a whole release runs (tests/infra/audit.py). Here: that nothing is too much.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.infra import audit
from tests.infra.policies import Need, allows
from tests.infra.template import TEMPLATE, Stack, actions, listed, template

ROOT = Path(__file__).parents[2]
STACK = Stack("release-local")
ROLES = [
    "PipelineRole",
    "FetchRole",
    "EvaluateRole",
    "PromoteRole",
    "ServeRole",
    "ReapRole",
    "EventsRole",
    "BuildRole",
    "DeliveryRole",
]

OF_SERVICES: dict[str, dict[str, str]] = {
    "PipelineRole": {
        "sagemaker:DescribeProcessingJob sagemaker:StopProcessingJob": "Pipelines follows and stops the jobs that it made: "
        "'IAM Access Management', SageMaker Pipelines",
        "kms:Decrypt kms:DescribeKey kms:CreateGrant": "S3 and the volumes of jobs, with kms_key: 'CreateProcessingJob API'",
        "ecr:BatchGetImage ecr:DescribeImages s3:ListBucket": "what a registration looks at: 'Register a Model Version from a Different Account'",
    },
    "FetchRole": {
        "s3:DeleteObject": "of an object that S3 stored otherwise than it was sent: tests/steps/fetch_weights/test_destination.py, a faulty S3",
    },
    "EvaluateRole": {
        "sagemaker:DescribeModel": "cleaning up after a refused CreateModel or CreateEndpointConfig: Hosting.undefine; no whole run here meets it",
    },
    "PromoteRole": {
        "iam:CreateServiceLinkedRole sagemaker:UpdateEndpointWeightsAndCapacities": "'Prerequisites for autoscaling', SageMaker developer guide",
        "sts:AssumeRole": "where production is in another account: docs/two_accounts.md",
    },
    "ServeRole": {
        "ecr:BatchCheckLayerAvailability ecr:GetDownloadUrlForLayer ecr:BatchGetImage ecr:GetAuthorizationToken logs:CreateLogGroup "
        "logs:CreateLogStream logs:DescribeLogStreams logs:PutLogEvents cloudwatch:PutMetricData": "'CreateModel API: Execution Role Permissions'",
        "kms:Decrypt kms:DescribeKey kms:GenerateDataKey kms:CreateGrant": "the same, with kms_key",
        "cloudwatch:DescribeAlarms": "updates with alarms: 'Auto-Rollback Configuration and Monitoring'",
        "s3:PutObject": "'Capture data from real-time endpoint', which production.data_capture turns on",
    },
    "ReapRole": {},
    "EventsRole": {},
    "BuildRole": {
        "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer ecr:InitiateLayerUpload ecr:UploadLayerPart "
        "ecr:CompleteLayerUpload": "docker push: 'IAM permissions for pushing an image', ECR user guide",
        "codeconnections:UseConnection codestar-connections:UseConnection": "CodeBuild clones: 'Add CodeBuild GitClone permissions', CodePipeline",
        "logs:CreateLogStream logs:PutLogEvents": "CodeBuild's log: 'Create a CodeBuild service role'",
        "s3:GetObjectVersion s3:GetBucketAcl s3:GetBucketLocation": "the source artifact: 'Create a CodeBuild service role'",
        "kms:Decrypt kms:Encrypt kms:GenerateDataKey kms:DescribeKey": "S3 and CodePipeline's artifacts, encrypted",
        "s3:ListBucket": "S3 itself, to say that a key is not there: API reference of GetObject",
        "secretsmanager:GetSecretValue": "the preflight with a token (pipelines/checks/preflight.py); the tests' Hub needs none",
        "sagemaker:PutModelPackageGroupPolicy": "where production is in another account: docs/two_accounts.md",
    },
    "DeliveryRole": {
        "codeconnections:UseConnection codestar-connections:UseConnection codebuild:StartBuild codebuild:BatchGetBuilds s3:GetObject "
        "s3:GetObjectVersion s3:PutObject s3:PutObjectAcl s3:GetBucketAcl s3:GetBucketLocation s3:GetBucketVersioning kms:Decrypt "
        "kms:Encrypt kms:GenerateDataKey kms:DescribeKey": "'CodePipeline service role policy', CodePipeline user guide",
    },
}
"""What AWS's services do with a role, or code of ours in a place that no run on this machine reaches: with the source."""


def of_services(role: str) -> set[str]:
    return {action for names in OF_SERVICES[role] for action in names.split()}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_granted_what_calls_take_and_nothing_else(role: str) -> None:
    granted = actions(STACK.statements(role))
    taken = audit.recorded().get(role, set())
    assert granted - taken - of_services(role) == set(), "granted, but no call takes it"
    assert of_services(role) - granted == set(), "listed, but not granted"
    assert taken - granted - actions(STACK.managed_statements(role)) == set(), "a call takes it, but it is not granted"


def test_every_role_of_the_template_is_examined() -> None:
    assert [name for name, resource in template()["Resources"].items() if resource["Type"] == "AWS::IAM::Role"] == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_only_the_service_of_its_duty_assumes_a_role_and_for_this_account(role: str) -> None:
    service = {"EventsRole": "events", "BuildRole": "codebuild", "DeliveryRole": "codepipeline"}.get(role, "sagemaker")
    [trust] = listed(STACK.resource(role)["AssumeRolePolicyDocument"]["Statement"])
    assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def each_statement() -> list[tuple[str, dict[str, Any]]]:
    roles = [(role, statement) for role in ROLES for statement in STACK.statements(role)]
    managed = ["SageMakerRunsJobs", "SageMakerUsesVpc"]
    return roles + [(name, entry) for name in managed for entry in listed(STACK.resource(name)["PolicyDocument"]["Statement"])]


def test_no_action_is_a_wildcard() -> None:
    assert [action for _, statement in each_statement() for action in listed(statement["Action"]) if "*" in action] == []


def test_each_role_that_is_passed_is_named_and_passed_to_one_service() -> None:
    passes = [(role, entry) for role, entry in each_statement() if "iam:PassRole" in listed(entry["Action"])]
    assert {role for role, _ in passes} == {"PipelineRole", "EvaluateRole", "PromoteRole", "BuildRole"}
    for _, statement in passes:
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
        assert not any("*" in resource for resource in listed(statement["Resource"]))


def test_what_is_deleted_carries_a_tag_or_is_a_file_of_the_fetch() -> None:
    for role, statement in each_statement():
        deletes = [action for action in listed(statement["Action"]) if ":Delete" in action]
        if not deletes or role == "SageMakerUsesVpc":
            continue  # network interfaces that SageMaker made, and deletes
        tag = {"EvaluateRole": "release:expires-at", "ReapRole": "release:expires-at", "PromoteRole": "release:model"}.get(role)
        by_tag = statement.get("Condition") == {"Null": {f"aws:ResourceTag/{tag}": "false"}}
        its_own = {
            "FetchRole": "arn:aws:s3:::release-local/weights/*",
            "PromoteRole": "arn:*:cloudwatch:us-east-1:123456789012:alarm:TargetTracking-endpoint/*",
        }
        assert by_tag or listed(statement["Resource"]) == [its_own.get(role)], f"{role}: {deletes}"


@pytest.mark.parametrize("role", ["EvaluateRole", "ReapRole"])
def test_neither_evaluation_nor_reaper_can_delete_production(role: str) -> None:
    production = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/staging-like"
    tags = {"aws:ResourceTag/release:model": "qwen3-32b"}
    delete = Need("sagemaker:DeleteEndpoint", production, tags)
    assert not allows(STACK.statements(role), delete)
    assert allows(STACK.statements(role), Need(delete.action, production, tags | {"aws:ResourceTag/release:expires-at": "2026"}))


def test_only_promotion_approves_and_nobody_registers_an_approved_version() -> None:
    version = "arn:aws:sagemaker:us-east-1:123456789012:model-package/release-m/1"
    approve = Need("sagemaker:UpdateModelPackage", version, {"sagemaker:ModelApprovalStatus": "Approved"})
    assert [role for role in ROLES if allows(STACK.statements(role), approve)] == ["PromoteRole"]
    register = Need("sagemaker:CreateModelPackage", version, {"sagemaker:ModelApprovalStatus": "Approved"})
    assert not any(allows(STACK.statements(role), register) for role in ROLES)


def test_an_update_can_see_the_alarms_that_take_it_back() -> None:
    """ "Ensure that your IAM execution role has permission to perform the cloudwatch:DescribeAlarms action on the auto-rollback alarms you
    specify" ("Auto-Rollback Configuration and Monitoring", SageMaker developer guide): the role of the endpoint's model, and the caller's."""
    for role in ("PromoteRole", "ServeRole"):
        for alarm in ("production-qwen3-32b-v4-efgh1234-errors", "of-the-team"):
            need = Need("cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{alarm}")
            assert allows(STACK.statements(role), need), (role, alarm)


def test_a_version_is_registered_by_one_who_may_read_what_it_is_made_of() -> None:
    """ "Register a Model Version from a Different Account" (SageMaker developer guide) names what a registration reads, and "Deploy a Model
    Version from a Different Account" that CreateModel is asked for on the version, too."""
    image = "arn:aws:ecr:us-east-1:123456789012:repository/release-serving"
    weights = "arn:aws:s3:::release-local/weights/Qwen/Qwen3-32B/9216db5781bf/config.json"
    reads = [Need("ecr:BatchGetImage", image), Need("ecr:DescribeImages", image), Need("s3:GetObject", weights)]
    assert all(allows(STACK.statements("PipelineRole"), need) for need in reads)
    version = "arn:aws:sagemaker:us-east-1:123456789012:model-package/release-qwen3-32b/4"
    tags = {"aws:RequestTag/release:model": "qwen3-32b"}
    assert allows(STACK.statements("PromoteRole"), Need("sagemaker:CreateModel", version, tags))


def test_each_wildcard_resource_has_its_reason_written_above_it() -> None:
    """Beside it, or in the line before: why IAM knows no narrower resource."""
    lines = TEMPLATE.read_text().splitlines()
    bare = [number for number, line in enumerate(lines) if re.search(r'Resource: ("\*"|\[?"?\*"?\]?)\s*$', line)]
    assert len(bare) >= 10
    assert [f"{number + 1}: {lines[number].strip()}" for number in bare if "#" not in lines[number - 1]] == []


def test_the_stack_can_be_made_without_a_detour_over_s3() -> None:
    # TemplateBody's limit (API reference of CreateStack); --s3-bucket lifts it to 1 MB for whoever adds to it.
    assert len(TEMPLATE.read_bytes()) <= 51_200


def test_no_policy_is_longer_than_iam_takes() -> None:
    """Characters without white space: 10,240 in a role's own policies, 6,144 in a managed one ("IAM and AWS STS quotas", IAM user guide)."""

    def length(document: Any) -> int:
        return len(json.dumps(document, separators=(",", ":")))

    resources = template()["Resources"]
    managed = [name for name, resource in resources.items() if resource["Type"] == "AWS::IAM::ManagedPolicy"]
    assert managed
    assert [name for name in managed if length(STACK.resource(name)["PolicyDocument"]) > 6_144] == []
    assert [role for role in ROLES if sum(length(p["PolicyDocument"]) for p in STACK.resource(role)["Policies"]) > 10_240] == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_what_is_on_record_is_what_runs_take(tmp_path: Path) -> None:
    """Runs every release, promotion, rollback, refusal, build and reaping of the suite, and compares."""
    record = tmp_path / "record.json"
    releases = [
        "tests/local",
        "tests/steps/promote",
        "tests/steps/evaluate_staging/test_hosts.py",
        "tests/steps/reap/test_reap.py",
    ]
    others = ["tests/test_buildspec.py", "tests/infra/test_events.py", "tests/infra/test_fetch.py"]
    kills = ["-m", "soak", "tests/steps/promote/test_kills.py"]  # only a killed try leaves models to look at
    for runs, what in enumerate(([*releases, *others], kills)):
        subprocess.run(
            [sys.executable, "-m", "pytest", "-n", "4", "--dist", "loadfile", *what, f"--basetemp={tmp_path / f'runs-{runs}'}"],
            cwd=ROOT,
            env={**os.environ, "RELEASE_RECORD": str(record)},
            check=True,
        )
    assert audit.recorded(record) == audit.recorded()
