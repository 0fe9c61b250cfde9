"""The rules of infra/delivery.yaml: AWS's documented events through EventBridge's matching, and what a rule starts with its role.

Events as in "Events that Amazon SageMaker AI sends to Amazon EventBridge" (SageMaker developer guide) and "Monitoring CodePipeline events"
(CodePipeline user guide), with this project's names in them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from config.loader import load_environment
from pipelines.definitions import reaping
from tests.infra.template import ACCOUNT, REGION, Stack, template
from tests.support.waiting import wait_until
from tests.support.worlds.evaluation import BUCKET, ROOT, EvaluationWorld, evaluation_world, iso

if TYPE_CHECKING:
    from moto.events.utils import EventMessageType

STACK = Stack(BUCKET)
PIPELINES = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/release-pipeline"


def documented(detail_type: str, resources: list[str], detail: dict[str, Any], source: str = "aws.sagemaker") -> dict[str, Any]:
    return {
        "version": "0",
        "id": "315c1398-40ff-a850-213b-158f73kd93ir",
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": "2021-03-15T16:10:11Z",
        "region": REGION,
        "resources": resources,
        "detail": detail,
    }


def package_event(status: str, group: str = "release-qwen3-32b") -> dict[str, Any]:
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{group}/2"
    detail = {
        "ModelPackageGroupName": group,
        "ModelPackageVersion": 2,
        "ModelPackageArn": arn,
        "CreationTime": "2021-02-24T17:00:14Z",
        "InferenceSpecification": {
            "Containers": [
                {"Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/release-serving:1", "ImageDigest": "sha256:4dc8a7e4"}
            ],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CertifyForMarketplace": False,
        "ModelApprovalStatus": status,
        "MetadataProperties": {"GeneratedBy": f"{PIPELINES}/release-qwen3-32b/execution/4r83jejmhorv"},
        "LastModifiedTime": "2021-02-24T17:00:14Z",
    }
    return documented("SageMaker Model Package State Change", [arn], detail)


def execution_event(status: str, pipeline: str = "release-qwen3-32b") -> dict[str, Any]:
    execution = f"{PIPELINES}/{pipeline}/execution/p4jn9xou8a8s"
    detail = {
        "pipelineExecutionDisplayName": "SomeDisplayName",
        "currentPipelineExecutionStatus": status,
        "previousPipelineExecutionStatus": "Executing",
        "executionStartTime": "2021-03-15T16:03:13Z",
        "executionEndTime": "2021-03-15T16:10:10Z",
        "pipelineExecutionDescription": "SomeDescription",
        "pipelineArn": f"{PIPELINES}/{pipeline}",
        "pipelineExecutionArn": execution,
    }
    return documented("SageMaker Model Building Pipeline Execution Status Change", [f"{PIPELINES}/{pipeline}", execution], detail)


def step_event(step: str, status: str, outcome: str | None, pipeline: str = "release-qwen3-32b") -> dict[str, Any]:
    execution = f"{PIPELINES}/{pipeline}/execution/p4jn9xou8a8s"
    detail: dict[str, Any] = {
        "metadata": {} if outcome is None else {"condition": {"outcome": outcome}},
        "stepStartTime": "2021-03-15T16:03:14Z",
        "stepEndTime": "2021-03-15T16:10:09Z",
        "stepName": step,
        "stepType": "Condition",
        "previousStepStatus": "Executing",
        "currentStepStatus": status,
        "pipelineArn": f"{PIPELINES}/{pipeline}",
        "pipelineExecutionArn": execution,
    }
    return documented(
        "SageMaker Model Building Pipeline Execution Step Status Change", [f"{PIPELINES}/{pipeline}", execution], detail
    )


def build_event(state: str, pipeline: str = "delivery") -> dict[str, Any]:
    detail = {
        "pipeline": pipeline,
        "execution-id": "12345678-1234-5678-abcd-12345678abcd",
        "start-time": "2023-10-26T13:49:39.208Z",
        "execution-trigger": {"trigger-type": "CloudWatchEvent", "trigger-detail": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r"},
        "state": state,
        "version": 1.0,
        "pipeline-execution-attempt": 1.0,
    }
    arn = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:{pipeline}"
    return documented("CodePipeline Pipeline Execution State Change", [arn], detail, "aws.codepipeline")


CASES = [
    ("Approved", package_event("Approved"), True),
    ("Approved", package_event("Rejected"), False),
    ("Approved", package_event("PendingManualApproval"), False),
    ("Approved", package_event("Approved", group="another-teams"), False),
    ("Failed", execution_event("Failed"), True),
    ("Failed", execution_event("Failed", "promotion"), True),
    ("Failed", execution_event("Failed", "reap"), True),
    ("Failed", execution_event("Failed", "another-teams"), False),
    ("Failed", execution_event("Succeeded"), False),
    ("Failed", execution_event("Executing"), False),
    ("Waiting", step_event("Approved", "Succeeded", "False"), True),
    ("Waiting", step_event("Approved", "Succeeded", None), True),
    ("Waiting", step_event("Approved", "Succeeded", "True"), False),  # promoted by itself
    ("Waiting", step_event("Approved", "Executing", None), False),
    ("Waiting", step_event("Gate", "Succeeded", "False"), False),
    ("Waiting", step_event("Approved", "Succeeded", "False", "promotion"), False),
    ("BuildFailed", build_event("FAILED"), True),
    ("BuildFailed", build_event("SUCCEEDED"), False),
    ("BuildFailed", build_event("FAILED", "another-teams"), False),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvaluationWorld]:
    """A SageMaker with a steps image; what it did is held against the roles at the end."""
    folder = tmp_path_factory.mktemp("events")
    steps = {"match": "*/release-steps:*", "environment": {"PYTHONPATH": str(ROOT)}, "working_directory": str(ROOT)}
    with evaluation_world(folder, steps) as running:
        yield running


@pytest.mark.parametrize(("rule", "event", "matches"), CASES)
def test_documented_events_match_the_rules_that_they_should(rule: str, event: dict[str, Any], matches: bool) -> None:
    from moto.events.models import EventPattern  # what sagemaker_local matches with, which knows no TestEventPattern

    pattern = EventPattern.load(json.dumps(STACK.resource(rule)["EventPattern"]))
    assert pattern.matches_event(cast("EventMessageType", event)) is matches


def test_every_rule_is_tested_and_no_rule_is_off() -> None:
    rules = {
        name: STACK.resource(name)
        for name, resource in template()["Resources"].items()
        if resource["Type"] == "AWS::Events::Rule"
    }
    assert set(rules) == {rule for rule, _, _ in CASES} | {"Reap"}
    assert {rule.get("State", "ENABLED") for rule in rules.values()} == {"ENABLED"}
    assert rules["Reap"]["ScheduleExpression"] == "rate(1 hour)"


@pytest.mark.parametrize(
    ("rule", "event", "said"),
    [
        ("Failed", execution_event("Failed"), f"Failed: SomeDisplayName, {PIPELINES}/release-qwen3-32b/execution/p4jn9xou8a8s"),
        ("Waiting", step_event("Approved", "Succeeded", "False"), "waits for your approval in the Model Registry"),
        ("BuildFailed", build_event("FAILED"), "CodePipeline delivery, execution 12345678-1234-5678-abcd-12345678abcd"),
    ],
)
def test_a_person_reads_what_happened_and_where_to_look(
    made: EvaluationWorld, rule: str, event: dict[str, Any], said: str
) -> None:
    from sagemaker_local.events.rules import payload_of

    [target] = STACK.resource(rule)["Targets"]
    assert target["Arn"] == f"arn:aws:sns:{REGION}:{ACCOUNT}:release"
    assert said in json.loads(payload_of(target, event, "arn", rule))


def put(made: EvaluationWorld, name: str, pattern: dict[str, Any]) -> None:
    """The rule of the template with its target; its pattern may be another, since no clock runs schedules here."""
    events, rule = made.client("events"), STACK.resource(name)
    events.put_rule(Name=rule["Name"], EventPattern=json.dumps(pattern))
    targets = copy.deepcopy(rule["Targets"])
    for target in targets:
        target.pop("DeadLetterConfig", None)
    events.put_targets(Rule=rule["Name"], Targets=targets)


def executions(made: EvaluationWorld, pipeline: str) -> list[dict[str, Any]]:
    listed = made.client("sagemaker").list_pipeline_executions(PipelineName=pipeline)
    return list(listed["PipelineExecutionSummaries"])


def test_an_approval_starts_the_promotion_with_the_version(made: EvaluationWorld) -> None:
    sagemaker = made.client("sagemaker")
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "ModelPackageArn", "Type": "String"}],
        "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.ModelPackageArn"}}}],
    }
    sagemaker.create_pipeline(PipelineName="promotion", PipelineDefinition=json.dumps(definition), RoleArn=ROLE)
    put(made, "Approved", STACK.resource("Approved")["EventPattern"])
    version = made.version({})
    sagemaker.update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus="Approved")
    [execution] = wait_until(lambda: executions(made, "promotion"), "an execution of promotion")
    given = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution["PipelineExecutionArn"])
    assert given["PipelineParameters"] == [{"Name": "ModelPackageArn", "Value": version.arn}]


def test_the_reaper_that_the_schedule_starts_deletes_what_has_outlived_its_run(made: EvaluationWorld, tmp_path: Path) -> None:
    sagemaker = made.client("sagemaker")
    built = reaping.build(load_environment("local"))
    assert built is not None
    sagemaker.create_pipeline(PipelineName=built.name, PipelineDefinition=built.definition(), RoleArn=ROLE)
    version = made.version({}, name="reaped")
    expired, waiting = _tagged("reaped", iso(-1)), _tagged("reaped", iso(3600))
    _model_and_config(made, version, "staging-expired", expired)
    _model_and_config(made, version, "staging-waiting", waiting)
    sagemaker.create_endpoint(EndpointName="staging-expired", EndpointConfigName="staging-expired", Tags=expired)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="staging-expired", WaiterConfig={"Delay": 1})
    put(made, "Reap", {"source": ["tests.clock"]})
    made.client("events").put_events(Entries=[{"Source": "tests.clock", "DetailType": "an hour is over", "Detail": "{}"}])
    [execution] = wait_until(lambda: executions(made, "reap"), "an execution of reap")
    wait_until(lambda: executions(made, "reap")[0]["PipelineExecutionStatus"] != "Executing", "the reaper is done")
    assert executions(made, "reap")[0]["PipelineExecutionStatus"] == "Succeeded"
    assert [name for name in made.left() if name.startswith("staging-")] == ["staging-waiting", "staging-waiting"]
    key = f"executions/reap/{execution['PipelineExecutionArn'].rsplit('/', 1)[-1]}/reap/reaped.json"
    reaped = json.loads(made.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())["reaped"]
    assert [(item["kind"], item["outcome"]) for item in reaped] == [
        ("endpoint", "deleted"),
        ("endpoint-config", "deleted"),
        ("model", "deleted"),
    ]


def _tagged(model: str, expires_at: str) -> list[dict[str, str]]:
    tags = {"release:model": model, "release:execution": "abcdefghijkl", "release:expires-at": expires_at}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _model_and_config(made: EvaluationWorld, version: Any, name: str, tags: list[dict[str, str]]) -> None:
    sagemaker = made.client("sagemaker")
    described = sagemaker.describe_model_package(ModelPackageName=version.arn)
    [container] = described["InferenceSpecification"]["Containers"]
    wanted = {key: container[key] for key in ("Image", "Environment", "ModelDataSource") if key in container}
    role = version.release.environment.roles.serve
    sagemaker.create_model(ModelName=name, PrimaryContainer=wanted, ExecutionRoleArn=role, Tags=tags)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.p5.48xlarge", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)
