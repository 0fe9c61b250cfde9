"""The reaper deletes what has outlived its run, says what and why, and touches nothing else; a second try of the step replaces the first.

What it does after an evaluation that was ended in any way: test_evaluate_kills.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from delivery.errors import DeliveryError
from steps.reap import step
from steps.reap.models import ReapArguments
from tests.support.waiting import WHOLE_SYSTEM_S
from tests.support.worlds.evaluation import IMAGE, EvaluationWorld, closed_loop, evaluation_world, iso

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

LONG = {"load_profiles": {"long": closed_loop(duration_s=60)}}


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvaluationWorld]:
    with evaluation_world(tmp_path_factory.mktemp("reap")) as made:
        yield made


def test_sigkill_leaves_what_the_reaper_deletes_when_it_has_expired(staged: EvaluationWorld, tmp_path: Path) -> None:
    run = staged.start(staged.version(LONG))
    run.wait_for("requests, ")
    run.process.kill()
    run.wait()
    left = staged.left()
    assert len(left) == 3
    assert staged.reap().returncode == 0
    assert staged.left() == left, "not expired yet"
    sagemaker = staged.client("sagemaker")
    arns = [
        sagemaker.describe_endpoint(EndpointName=left[0])["EndpointArn"],
        sagemaker.describe_endpoint_config(EndpointConfigName=left[1])["EndpointConfigArn"],
        sagemaker.describe_model(ModelName=left[2])["ModelArn"],
    ]
    for arn in arns:
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "release:expires-at", "Value": iso(-1)}])
    dry = staged.reap("--dry-run")
    assert staged.left() == left
    assert dry.stdout.count("dry run") == 3
    done = staged.reap("--output", str(tmp_path))
    assert staged.left() == []
    assert left[0] in done.stdout and "expired at" in done.stdout
    reaped = json.loads((tmp_path / "reaped.json").read_text())["reaped"]
    assert [item["kind"] for item in reaped] == ["endpoint", "endpoint-config", "model"]


def test_what_carries_no_expiry_is_never_touched(staged: EvaluationWorld) -> None:
    version = staged.version({})
    sagemaker = staged.client("sagemaker")
    sagemaker.update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus="Approved")
    kept = ["production", "staging-of-nobody-knows-when"]  # by its name the second could be ours
    for name in kept:
        sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={"ModelPackageName": version.arn},
            ExecutionRoleArn=version.release.environment.roles.serve,
            Tags=[{"Key": "release:model", "Value": "sim"}],
        )
    try:
        assert staged.reap().returncode == 0
        assert sorted(staged.left()) == kept
    finally:
        for name in kept:
            sagemaker.delete_model(ModelName=name)


def made(staged: EvaluationWorld, name: str, expires_at: str) -> None:
    staged.client("sagemaker").create_model(
        ModelName=name,
        PrimaryContainer={"Image": IMAGE},
        ExecutionRoleArn="arn:aws:iam::123456789012:role/release-serve",
        Tags=[{"Key": "release:expires-at", "Value": expires_at}],
    )


def test_one_that_cannot_be_deleted_keeps_none_of_the_others(staged: EvaluationWorld) -> None:
    """Somebody's own models among them, with such a tag by mistake: the role lets none but staging's be deleted."""
    sagemaker = staged.client("sagemaker")
    for name in ("not-staging-but-somebodys", "staging-a", "staging-b", "staging-c"):
        made(staged, name, iso(-1))
    refusing = mock.Mock(wraps=sagemaker)

    def delete(ModelName: str) -> None:
        if ModelName == "staging-b":
            message = f"not authorized to perform sagemaker:DeleteModel on {ModelName}"
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, "DeleteModel")
        sagemaker.delete_model(ModelName=ModelName)

    refusing.delete_model = delete
    try:
        with (
            mock.patch("boto3.client", return_value=refusing),
            pytest.raises(DeliveryError, match=r"1 of 3 .* \(model staging-b\): .*AccessDenied"),
        ):
            step.run(ReapArguments("us-east-1"))
        assert sorted(staged.left()) == ["not-staging-but-somebodys", "staging-b"]
    finally:
        for name in ("not-staging-but-somebodys", "staging-b"):
            sagemaker.delete_model(ModelName=name)


def test_a_second_try_replaces_what_a_killed_one_left(staged: EvaluationWorld) -> None:
    version = staged.version(LONG)
    first = staged.start(version, execution="samesamesame")
    first.wait_for("requests, ")
    first.process.kill()
    first.wait()
    second = staged.start(version, execution="samesamesame")
    second.wait_for("requests, ")
    second.process.terminate()
    second.wait()
    assert "is replaced" in second.text
    assert staged.left() == []


def test_an_engine_that_crashes_under_load_ends_in_a_verdict_and_leaves_nothing(staged: EvaluationWorld) -> None:
    run = staged.start(staged.version({}, settings={"crash_after_requests": 5}))
    assert run.wait() == 0, run.text
    assert run.evaluation.verdict != "passed"
    assert staged.left() == []


def test_an_engine_that_never_comes_up_is_shown_with_its_last_words(staged: EvaluationWorld) -> None:
    run = staged.start(staged.version({}, settings={"crash_at_start": True}))
    assert run.wait() == 1
    assert "crash at start, as the simulation asks" in run.text
    assert staged.left() == []
