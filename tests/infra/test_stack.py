"""infra/delivery.yaml against the rest of the project: what it names is there, and what is there is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from delivery.history.ledger import Ledger
from pipelines.setup import images
from steps.evaluate_staging import publish
from tests.infra.policies import Need, allows
from tests.infra.template import ACCOUNT, REGION, Stack, template

ROOT = Path(__file__).parents[2]
STACK = Stack("release-local")


def widgets() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(STACK.resource("Dashboard")["DashboardBody"])["widgets"]
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


def of_service(document: dict[str, Any], service: str) -> list[dict[str, Any]]:
    """The statements of a resource's policy that are for one of AWS's services."""
    return [entry for entry in document["Statement"] if entry["Principal"].get("Service") == f"{service}.amazonaws.com"]


@pytest.mark.parametrize(("resource", "document"), [("Key", "KeyPolicy"), ("TopicPolicy", "PolicyDocument")])
def test_what_a_rule_sends_to_the_encrypted_topic_arrives(resource: str, document: str) -> None:
    """No condition on the source: EventBridge meets none in a topic's policy ("Using resource-based policies for Amazon EventBridge": "You
    can't use of Condition blocks in Amazon SNS topic policies for EventBridge"), and none in its key's ("Managing Amazon SNS encryption keys
    and costs": "not supported for EventBridge-to-encrypted topics"). Alarms meet one."""
    policy = STACK.resource(resource)[document]
    [rules], [alarms] = of_service(policy, "events"), of_service(policy, "cloudwatch")
    assert "Condition" not in rules
    assert alarms["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert (
        rules["Action"] == alarms["Action"] == (["kms:Decrypt", "kms:GenerateDataKey*"] if resource == "Key" else "sns:Publish")
    )


def test_the_key_is_for_the_log_of_the_build_as_cloudwatch_documents_it() -> None:
    """ "Encrypt log data in CloudWatch Logs using AWS KMS": without these the log group, and with it the stack, is not made."""
    [statement] = of_service(STACK.resource("Key")["KeyPolicy"], f"logs.{REGION}")
    assert statement["Action"] == ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{STACK.resource('BuildLog')['LogGroupName']}"
    assert statement["Condition"] == {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": group}}


def test_rules_about_parameters_use_no_function_but_those_that_rules_know() -> None:
    """ "Rule functions", CloudFormation template reference: `Ref` and each other, nothing else; cfn-lint lets others pass."""
    known = {
        "Ref",
        "And",
        "Contains",
        "EachMemberEquals",
        "EachMemberIn",
        "Equals",
        "Not",
        "Or",
        "RefAll",
        "ValueOf",
        "ValueOfAll",
    }

    def functions(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(functions, value))
        return (
            {name.removeprefix("Fn::") for name in value} | functions(list(value.values())) if isinstance(value, dict) else set()
        )

    for rule in template()["Rules"].values():
        expressions = [rule["RuleCondition"], *(assertion["Assert"] for assertion in rule["Assertions"])]
        assert functions(expressions) <= known


def test_key_and_bucket_outlive_the_stack_but_not_a_first_try_that_fails() -> None:
    """ "DeletionPolicy attribute", CloudFormation user guide. The bucket's name is fixed: one that a failed creation left would stand in the way
    of the next try."""
    for name in ("Key", "Bucket"):
        resource = template()["Resources"][name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_a_pipeline_that_a_rule_cannot_start_is_heard_of() -> None:
    """An approval is kept and rings until somebody sees to it. The schedule comes again: before the first build has made the reaper's
    pipeline it rings, after that it stops by itself, and no stale event hides a lost approval."""
    approved, reap = STACK.resource("Approved"), STACK.resource("Reap")
    queue = "arn:aws:of:us-east-1:123456789012:Undelivered.Arn"
    assert [target.get("DeadLetterConfig") for target in approved["Targets"]] == [{"Arn": queue}]
    assert [target.get("DeadLetterConfig") for target in reap["Targets"]] == [None]
    alarm = STACK.resource("ReaperAlarm")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Events", "FailedInvocations")
    assert alarm["Dimensions"] == [{"Name": "RuleName", "Value": "Reap"}]  # a Ref: the rule's name
    assert alarm["TreatMissingData"] == "notBreaching"


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


def test_a_connection_that_the_stack_makes_needs_no_host() -> None:
    """A provider of one's own has a host, set up in the console ("Create a connection to GitHub Enterprise Server", Developer Tools console
    user guide): its connection cannot be made here, and comes as ConnectionArn."""
    assert not {"GitHubEnterpriseServer", "GitLabSelfManaged"} & set(template()["Parameters"]["ProviderType"]["AllowedValues"])
    assert "HostArn" not in STACK.resource("Connection")


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


@pytest.mark.parametrize(
    ("action", "key", "headers", "denied"),
    [
        ("s3:PutObject", "releases/qwen3-32b/00000007.json", {"s3:if-none-match": "*"}, False),
        ("s3:PutObject", "releases/qwen3-32b/00000007.json", {}, True),
        ("s3:DeleteObject", "releases/qwen3-32b/00000007.json", {}, True),
        ("s3:DeleteObjectVersion", "releases/qwen3-32b/00000007.json", {}, True),
        ("s3:PutObject", f"releases/qwen3-32b/{'0' * 64}/release.json", {}, False),
        ("s3:PutObject", "leases/qwen3-32b.json", {}, False),
        ("s3:DeleteObject", "weights/Qwen/Qwen3-32B/9216db5781bf/00000007.json", {}, False),
    ],
)
def test_an_event_of_the_ledger_is_written_once_and_stays(
    action: str, key: str, headers: dict[str, str], *, denied: bool
) -> None:
    statements = STACK.resource("BucketPolicy")["PolicyDocument"]["Statement"]
    denials = [{**entry, "Effect": "Allow"} for entry in statements if entry and entry["Effect"] == "Deny"]
    need = Need(action, f"arn:aws:s3:::release-local/{key}", {"aws:SecureTransport": "true", **headers})
    assert allows([entry for entry in denials if entry["Sid"] != "OnlyEncryptedInTransit"], need) is denied


def test_the_ledgers_keys_are_those_that_the_buckets_policy_keeps() -> None:
    sent: list[dict[str, Any]] = []
    client = mock.Mock()
    client.get_paginator.return_value.paginate.return_value = []
    client.get_object.side_effect = ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")  # no checkpoint yet
    client.put_object = lambda **request: sent.append(request)
    Ledger(client, "release-local", "qwen3-32b").append("registered", by="execution")
    assert (sent[0]["Key"], sent[0]["IfNoneMatch"]) == ("releases/qwen3-32b/00000001.json", "*")
