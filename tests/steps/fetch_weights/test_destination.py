"""What objects are written with, and what is left of those that never were."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from delivery.aws import s3
from delivery.hub.fetch_settings import MIB, FetchSettings
from delivery.hub.range_client import RangeClient, RangeResponse
from delivery.hub.selection import HubFile
from local_hub.hub import LocalHub
from steps.fetch_weights import step
from steps.fetch_weights.destination import Destination
from steps.fetch_weights.models import FetchArguments
from steps.fetch_weights.part_sender import PartSender
from tests.support.worlds import fetching

KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
FILES = fetching.model_files([6 * MIB])  # one in parts, the others whole


def test_objects_have_the_environments_key_and_the_storage_class(aws: str, root: Path, tmp_path: Path) -> None:
    fetching.write_repository(root, "acme/model", FILES)
    with LocalHub(root=root, builtin=False) as hub:
        given = fetching.release(
            "acme/model", hub.revision("acme/model"), environment={"kms_key": KEY}, storage_class="STANDARD_IA"
        )
        step.run(FetchArguments(given, hub.endpoint, "exec-1", tmp_path / "output"))
    for path in (*FILES, "manifest.json"):
        head = fetching.client(aws).head_object(Bucket=fetching.BUCKET, Key=fetching.prefix_of(given) + path)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", KEY)
        assert head["StorageClass"] == "STANDARD_IA"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "s3.eu-west-1.amazonaws.com"),
        ("me-south-1", "s3.me-south-1.amazonaws.com"),
        ("us-east-1", "s3.amazonaws.com"),
    ],
)
def test_parts_are_signed_for_the_regions_own_address(monkeypatch: pytest.MonkeyPatch, region: str, host: str) -> None:
    """The global one redirects for a bucket's first hours, and does not know regions that opened after March 2019."""
    for name, value in fetching.step_environment("").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    sent: list[str] = []
    sender = PartSender(s3.client(region, bucket_owner="123456789012"), FetchSettings(), threading.Event(), "123456789012")

    def send(_: RangeClient, url: str, headers: dict[str, str], view: memoryview) -> RangeResponse:
        sent.append(url)
        signed = parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"][0].split(";")
        assert set(signed) == {"host", *headers}
        return RangeResponse(200, {"etag": "e"})

    monkeypatch.setattr(RangeClient, "send", send)
    sender.send("a part", {"Bucket": "release-1", "Key": "k", "UploadId": "u", "PartNumber": 1}, memoryview(b"x"), "AAAAAAAAAAA=")
    assert urlsplit(sent[0]).netloc == f"release-1.{host}"


def test_what_dead_hosts_left_unfinished_is_found_and_aborted_and_nothing_else(
    seaweed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in fetching.step_environment(seaweed).items():
        monkeypatch.setenv(name, value)
    given = fetching.release("acme/abandoned")
    prefix = fetching.prefix_of(given)
    client = s3.client("us-east-1")

    def destination() -> Destination:
        sender = PartSender(client, FetchSettings(), threading.Event())
        return Destination(client, s3.S3Uri.parse(given.weights_prefix), sender)

    def left() -> set[str]:
        return {key.removeprefix(prefix) for key in fetching.open_uploads(seaweed, given)}

    dead, alive = destination(), destination()
    for path in ("a.safetensors", "b.safetensors", "sub/c.safetensors"):
        dead.start(HubFile(path, 6 * MIB, "0" * 40))
    alive.start(HubFile("own.safetensors", 6 * MIB, "0" * 40))
    stranger = client.create_multipart_upload(Bucket=fetching.BUCKET, Key="weights/acme/another/a.safetensors")
    assert alive.abort_abandoned(3600) == 0  # they may still be somebody's
    assert len(left()) == 4
    assert alive.abort_abandoned(0, ["b.safetensors"]) == 1
    assert left() == {"a.safetensors", "sub/c.safetensors", "own.safetensors"}
    assert alive.abort_abandoned(0) == 2
    assert left() == {"own.safetensors"}
    alive.abort_open()
    assert left() == set()
    client.abort_multipart_upload(Bucket=fetching.BUCKET, Key="weights/acme/another/a.safetensors", UploadId=stranger["UploadId"])


@pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(), timedelta(hours=1)])
def test_how_old_an_upload_is_is_told_by_s3s_clock(skew: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock is ahead would abort what another one is sending."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now + skew

    uploads = [
        {"Key": f"weights/{minutes}", "UploadId": f"{minutes}", "Initiated": now - timedelta(minutes=minutes)}
        for minutes in (1, 29, 31)
    ]
    page = {"Uploads": uploads, "ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(now, usegmt=True)}}}
    aborted: list[str] = []
    client: Any = SimpleNamespace(
        get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: iter([page])),
        abort_multipart_upload=lambda **request: aborted.append(request["Key"]),
    )
    monkeypatch.setattr("delivery.aws.clock.datetime", Skewed)
    assert Destination(client, s3.S3Uri("b", "weights/"), cast(Any, None)).abort_abandoned(30 * 60) == 1
    assert aborted == ["weights/31"]
