"""What is refused before anything is touched, each time with the name of the check."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from delivery.errors import InputError
from delivery.names import Fact
from delivery.registry import model_packages, verification
from tests.support.fake_aws.s3 import crc64nvme
from tests.support.worlds.promotion import PromotionWorld, Version

REPOSITORY = "release-serving"
TAGGED = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{REPOSITORY}:simulated"


def refusals(world: PromotionWorld, version: Version) -> list[str]:
    package = model_packages.read(world.client("sagemaker"), version.arn)
    return verification.refusals(package, version.release, world.client("s3"), lambda region: world.client("ecr"))


def objects(version: Version) -> tuple[str, str]:
    bucket, prefix = version.release.weights_prefix.removeprefix("s3://").split("/", 1)
    return bucket, prefix


def replace_weights(world: PromotionWorld, version: Version) -> None:
    """Other bytes of the same length under the same name, uploaded as anybody would."""
    bucket, prefix = objects(version)
    body = world.client("s3").get_object(Bucket=bucket, Key=f"{prefix}simulated.json")["Body"].read()
    world.client("s3").put_object(Bucket=bucket, Key=f"{prefix}simulated.json", Body=body.replace(b"10", b"99"))


def add_weights(world: PromotionWorld, version: Version) -> None:
    bucket, prefix = objects(version)
    world.client("s3").put_object(Bucket=bucket, Key=f"{prefix}model-00002.safetensors", Body=b"more")


def delete_weights(world: PromotionWorld, version: Version) -> None:
    bucket, prefix = objects(version)
    world.client("s3").delete_object(Bucket=bucket, Key=f"{prefix}config.json")


def edit_manifest(world: PromotionWorld, version: Version) -> None:
    bucket, prefix = objects(version)
    body = world.client("s3").get_object(Bucket=bucket, Key=f"{prefix}manifest.json")["Body"].read()
    world.client("s3").put_object(Bucket=bucket, Key=f"{prefix}manifest.json", Body=body + b" ")


def report_of(world: PromotionWorld, version: Version) -> tuple[str, str]:
    facts = world.client("sagemaker").describe_model_package(ModelPackageName=version.arn)["CustomerMetadataProperties"]
    bucket, key = facts[Fact.EVALUATION_REPORT].removeprefix("s3://").split("/", 1)
    return bucket, key


def edit_report(world: PromotionWorld, version: Version) -> None:
    bucket, key = report_of(world, version)
    world.client("s3").put_object(Bucket=bucket, Key=key, Body=b'{"verdict": "passed"}')


def borrow_report(world: PromotionWorld, version: Version) -> None:
    """Another version's report, whole and registered properly."""
    report = json.dumps({"verdict": "passed", "model_package": "another", "evaluated_at": "2999-01-01T00:00:00+00:00"}).encode()
    bucket, key = report_of(world, version)
    world.client("s3").put_object(Bucket=bucket, Key=key, Body=report)
    world.client("sagemaker").update_model_package(
        ModelPackageArn=version.arn,
        CustomerMetadataProperties={Fact.EVALUATION_SHA256: hashlib.sha256(report).hexdigest()},
    )


def withdraw(world: PromotionWorld, version: Version) -> None:
    world.client("sagemaker").update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus="Rejected")


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (withdraw, "approval: the version is Rejected now, not Approved"),
        (edit_report, "evaluation: .* was changed after it was stored"),
        (borrow_report, "evaluation: .* is of another, not of this version"),
        (edit_manifest, "weights: .*manifest.json is not the one that was evaluated"),
        (replace_weights, "weights: .*simulated.json is not what was evaluated .CRC64NVME"),
        (add_weights, "weights: .*model-00002.safetensors was not evaluated"),
        (delete_weights, "weights: .*config.json is gone"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_was_tampered_with_is_refused(
    world: PromotionWorld, tamper: Callable[[PromotionWorld, Version], None], says: str
) -> None:
    name = world.name()
    world.serve(world.version(name))
    version, before = world.version(name), world.endpoint(name)
    assert refusals(world, version) == []
    tamper(world, version)
    [refusal] = refusals(world, version)
    assert re.match(says, refusal)
    assert world.refused(version) == f"version 2 is not promoted; production is untouched: {refusal}"
    assert world.endpoint(name) == before


def test_an_evaluation_that_failed_or_is_stale_is_refused(world: PromotionWorld) -> None:
    name = world.name()
    assert "the verdict in" in refusals(world, world.version(name, verdict="failed"))[0]
    [refusal] = refusals(world, world.version(name, age=timedelta(days=31)))
    assert "evaluation: it is 31.0 days old, and production.evaluation_max_age_days is 30" in refusal
    assert refusals(world, world.version(name, age=timedelta(days=31), evaluation_max_age_days=None)) == []


def push(world: PromotionWorld, tag: str, content: str) -> str:
    """Push an image; its digest."""
    config = {"digest": "sha256:" + hashlib.sha256(content.encode()).hexdigest()}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config})
    pushed = world.client("ecr").put_image(repositoryName=REPOSITORY, imageManifest=manifest, imageTag=tag)
    digest: str = pushed["image"]["imageId"]["imageDigest"]
    return digest


def test_an_image_tag_that_was_moved_is_refused(world: PromotionWorld) -> None:
    ecr = world.client("ecr")
    ecr.create_repository(repositoryName=REPOSITORY)
    try:
        digest = push(world, "simulated", "one")
        evaluated = world.version(world.name(), image=TAGGED, more_facts={Fact.IMAGE_DIGEST: digest})
        assert refusals(world, evaluated) == []
        moved = push(world, "simulated", "two")
        assert refusals(world, evaluated) == [
            f"image: {TAGGED} is {moved} now, but {digest} was evaluated: the tag was moved; release again"
        ]
        unknown = world.version(world.name(), image=TAGGED)
        assert "is not known" in refusals(world, unknown)[0]
    finally:
        ecr.delete_repository(repositoryName=REPOSITORY, force=True)


def test_weights_that_s3_keeps_no_crc64nvme_of_are_read(world: PromotionWorld) -> None:
    version = world.version(world.name())
    bucket, prefix = objects(version)
    s3: Any = world.client("s3")
    body = s3.get_object(Bucket=bucket, Key=f"{prefix}config.json")["Body"].read()
    s3.put_object(Bucket=bucket, Key=f"{prefix}config.json", Body=body, ChecksumAlgorithm="SHA256")
    assert "ChecksumCRC64NVME" not in s3.head_object(Bucket=bucket, Key=f"{prefix}config.json", ChecksumMode="ENABLED")
    assert crc64nvme(body)
    assert refusals(world, version) == []


def test_what_the_step_refuses_leaves_production_as_it_was(world: PromotionWorld) -> None:
    """An older version, an alarm of the team's that is not there or rings, and an endpoint that is somebody else's."""
    name = world.name()
    first, second = world.version(name), world.version(name)
    world.serve(second)
    before = world.endpoint(name)
    assert "order: production serves version 2, which is newer than 1" in world.refused(first)
    third = world.version(name, alarms=["ours"])
    assert "there is no alarm 'ours'" in world.refused(third)
    alarm = {
        "AlarmName": "ours", "Namespace": "x", "MetricName": "y", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
        "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    world.client("cloudwatch").put_metric_alarm(**alarm)
    world.client("cloudwatch").set_alarm_state(AlarmName="ours", StateValue="ALARM", StateReason="the queue is long")
    assert "the alarm ours is in ALARM before the update (the queue is long)" in world.refused(third)
    after = world.endpoint(name)
    assert before is not None and after is not None
    assert (after["EndpointConfigName"], after["LastModifiedTime"]) == (before["EndpointConfigName"], before["LastModifiedTime"])
    assert not [definition for definition in world.definitions(name) if "-v3-" in definition]
    other = world.name()
    with pytest.raises(InputError, match=f"the endpoint {name} exists, but was not made for {other} by"):
        world.serve(world.version(other, endpoint=name))
