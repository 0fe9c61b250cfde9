"""A pipeline and a package group are made once, also by two that want them at the same moment."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from config.loader import load_environment
from pipelines.executions.execution import Executions
from sagemaker_local.testing import running


def test_two_first_releases_both_want_the_pipeline_of_promotions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        first, second = (Executions(load_environment("local")) for _ in range(2))
        describe, steps = (
            second._sagemaker.describe_pipeline,
            [{"Name": "Over", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
        )
        definition = json.dumps({"Version": "2020-12-01", "Steps": steps})

        def late(*, PipelineName: str) -> object:
            """Let another make it between the look and the making."""
            monkeypatch.setattr(second._sagemaker, "describe_pipeline", describe)
            try:
                return describe(PipelineName=PipelineName)
            finally:
                first.upsert("promotion", definition, "theirs")

        monkeypatch.setattr(second._sagemaker, "describe_pipeline", late)
        second.upsert("promotion", definition.replace(": ", ":"), "ours")
        assert describe(PipelineName="promotion")["PipelineDefinition"] == definition


def refusal(code: str, message: str, action: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, action)


TAKEN = "Model Package Group already exists: arn:aws:sagemaker:us-east-1:123456789012:model-package-group/release-chat"
ABSENT = "ModelPackageGroup arn:aws:sagemaker:us-east-1:123456789012:model-package-group/release-chat does not exist."


class Groups:
    """A registry that answers CreateModelPackageGroup with this."""

    exceptions = SimpleNamespace(ClientError=ClientError)

    def __init__(self, answer: ClientError | None) -> None:
        self.answer, self.asked = answer, 0

    def describe_model_package_group(self, **_: Any) -> None:
        raise refusal("ValidationException", ABSENT, "DescribeModelPackageGroup")

    def create_model_package_group(self, **_: Any) -> None:
        self.asked += 1
        if self.answer:
            raise self.answer


def publish(groups: Groups) -> None:
    environment = SimpleNamespace(region="us-east-1", tags={}, production=None)
    release: Any = SimpleNamespace(name="chat", package_group="release-chat", environment=environment, to_json=lambda: "{}")
    with mock.patch("boto3.client", lambda service, **_: groups if service == "sagemaker" else mock.Mock()):
        Executions(release.environment).publish(release, "s3://bucket/releases/chat/x/release.json")


def test_a_group_whose_making_got_no_answer_is_there_already() -> None:
    """boto3 sends the request again; or another first release was faster."""
    groups = Groups(refusal("ValidationException", TAKEN, "CreateModelPackageGroup"))
    publish(groups)
    assert groups.asked == 1


def test_a_group_that_is_refused_for_another_reason_is_an_error() -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        publish(Groups(refusal("AccessDeniedException", "not authorized", "CreateModelPackageGroup")))
