"""S3's addresses, conditional writes and listings, and what an error says."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from delivery.aws import s3
from delivery.aws.client_errors import is_absent, translate_client_errors
from delivery.errors import DeliveryError, InputError
from tests.delivery.fake_s3 import FakeS3

URI = s3.S3Uri("release", "releases/chat/1.json")


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [("s3://b/k/l.json", "b", "k/l.json"), ("s3://b/k/", "b", "k/"), ("s3://b", "b", ""), ("s3://b/", "b", "")],
)
def test_an_address_is_read_and_written_the_same(text: str, bucket: str, key: str) -> None:
    assert s3.S3Uri.parse(text) == s3.S3Uri(bucket, key)
    assert str(s3.S3Uri(bucket, key)).rstrip("/") == text.rstrip("/")


@pytest.mark.parametrize("text", ["", "b/k", "https://b/k", "s3:///k", "s3://b/k?versionId=1", "s3://b/k#part"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        s3.S3Uri.parse(text)
    assert str(caught.value) == f"{text!r} is not an S3 address; expected s3://BUCKET/KEY"


@pytest.mark.parametrize(("key", "below"), [("", "a"), ("k", "k/a"), ("k/", "k/a")])
def test_what_is_below_a_prefix(key: str, below: str) -> None:
    assert s3.S3Uri("b", key) / "a" == s3.S3Uri("b", below)


class Recorder(FakeS3):
    """Keeps the last PutObject."""

    def put_object(self, *, Key: str, Body: bytes, **options: Any) -> dict[str, Any]:
        self.asked = options
        return super().put_object(Key=Key, Body=Body, **options)


def test_a_document_goes_with_its_checksum_and_what_else_is_asked_for() -> None:
    stored = Recorder()
    assert s3.write_json(stored.client, URI, b"{}", ServerSideEncryption="aws:kms")
    assert stored.asked == {
        "Bucket": "release",
        "ContentType": "application/json",
        "ChecksumSHA256": base64.b64encode(hashlib.sha256(b"{}").digest()).decode(),
        "ServerSideEncryption": "aws:kms",
    }
    assert s3.read(stored.client, URI) == b"{}"


def test_only_where_nothing_is() -> None:
    stored = Recorder()
    assert s3.write_json(stored.client, URI, b"1", only_if_absent=True)
    assert stored.asked["IfNoneMatch"] == "*"
    assert not s3.write_json(stored.client, URI, b"2", only_if_absent=True)
    assert s3.read(stored.client, URI) == b"1"
    assert s3.write_json(stored.client, URI, b"3")
    assert s3.read(stored.client, URI) == b"3"


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict", "412"])
@pytest.mark.parametrize("only_if_absent", [True, False])
def test_a_refused_condition_is_no_error_where_one_was_set(code: str, only_if_absent: bool) -> None:
    stored = FakeS3()

    def refuse(_: str) -> None:
        raise stored.error(code)

    stored.before_write = refuse
    if only_if_absent:
        assert not s3.write_json(stored.client, URI, b"1", only_if_absent=True)
    else:
        with pytest.raises(DeliveryError, match=f"could not write s3://release/releases/chat/1.json: .*{code}"):
            s3.write_json(stored.client, URI, b"1")


def test_what_is_not_there_is_none() -> None:
    assert s3.read(FakeS3().client, URI) is None


def test_a_listing_is_by_path_below_the_prefix() -> None:
    stored = FakeS3()
    stored.objects |= {"weights/qwen/a.json": b"1", "weights/qwen/b/c": b"22", "weights/other": b""}
    found = s3.list_objects(stored.client, s3.S3Uri("release", "weights/qwen/"))
    assert {path: (item.path, item.size) for path, item in found.items()} == {"a.json": ("a.json", 1), "b/c": ("b/c", 2)}
    assert found["a.json"].modified_at == stored.now.timestamp()
    assert found["a.json"].etag == '"c4ca4238a0b923820dcc509a6f75849b"'


def test_where_s3_denies_the_bucket_and_its_key_are_what_to_look_at() -> None:
    class Denying:
        def get_object(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")

    with pytest.raises(DeliveryError) as caught:
        s3.read(cast(Any, Denying()), URI)
    assert str(caught.value) == (
        "could not read s3://release/releases/chat/1.json: An error occurred (AccessDenied) when calling the GetObject operation: no; "
        "give the step's role that permission on the bucket (and on its KMS key)"
    )


def test_an_aws_that_is_not_there_is_one_line_too() -> None:
    with (
        pytest.raises(DeliveryError, match="could not ask: Could not connect to the endpoint URL"),
        translate_client_errors("ask"),
    ):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")


def test_other_errors_go_through() -> None:
    with pytest.raises(ZeroDivisionError), translate_client_errors("divide"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("words", "absent"),
    [("Could not find endpoint", True), ("ModelPackage does not exist.", True), ("Rate exceeded", False)],
)
def test_what_sagemaker_says_of_what_is_gone(words: str, absent: bool) -> None:
    assert is_absent(Exception(words)) is absent


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClientError({"Error": {"Code": "404", "Message": ""}}, "HeadObject"), "404"),
        (ClientError({}, "HeadObject"), ""),
        (ValueError("404"), ""),
    ],
)
def test_the_code_of_an_error(error: Exception, code: str) -> None:
    assert s3.error_code(error) == code


@pytest.mark.parametrize(
    ("url", "presigned"),
    [
        ("https://s3.eu-central-1.amazonaws.com", "https://weights.s3.eu-central-1.amazonaws.com/k?"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/weights/k?"),
    ],
)
def test_presigned_addresses_are_the_regions_own(monkeypatch: pytest.MonkeyPatch, url: str, presigned: str) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": url}.items():
        monkeypatch.setenv(name, value)
    client = s3.client("eu-central-1")
    assert client.generate_presigned_url("get_object", Params={"Bucket": "weights", "Key": "k"}).startswith(presigned)
