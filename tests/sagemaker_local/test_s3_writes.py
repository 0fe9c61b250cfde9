"""Conditional writes and large uploads of the local S3."""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from sagemaker_local.testing import RunningServer, running
from tests.support.waiting import HANG_S, wait_until

WRITERS = 20


def status_of(error: ClientError) -> tuple[int, str]:
    return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]


def refused(call: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return status_of(caught.value)


def all_at_once(write: Any) -> list[Any]:
    """What each of twenty simultaneous writers got: its ETag, or the error's status and code."""
    ready = threading.Barrier(WRITERS)

    def one(number: int) -> Any:
        ready.wait()
        try:
            return write(number)["ETag"]
        except ClientError as error:
            return status_of(error)

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(one, range(WRITERS)))


def test_one_of_twenty_writers_makes_the_object(s3: Any, a_bucket: str) -> None:
    answers = all_at_once(lambda number: s3.put_object(Bucket=a_bucket, Key="k", Body=f"{number}".encode(), IfNoneMatch="*"))
    won = [answer for answer in answers if isinstance(answer, str)]
    assert len(won) == 1
    assert {answer for answer in answers if not isinstance(answer, str)} == {(412, "PreconditionFailed")}
    got = s3.get_object(Bucket=a_bucket, Key="k")
    assert got["ETag"] == won[0]
    assert got["Body"].read().decode() == str(answers.index(won[0]))


def test_one_of_twenty_writers_replaces_the_object_that_all_have_seen(s3: Any, a_bucket: str) -> None:
    seen = s3.put_object(Bucket=a_bucket, Key="k", Body=b"before")["ETag"]
    answers = all_at_once(lambda number: s3.put_object(Bucket=a_bucket, Key="k", Body=f"{number}".encode(), IfMatch=seen))
    assert len([answer for answer in answers if isinstance(answer, str)]) == 1
    assert {answer for answer in answers if not isinstance(answer, str)} == {(412, "PreconditionFailed")}


def test_conditions_of_every_kind_of_write(s3: Any, a_bucket: str) -> None:
    where = {"Bucket": a_bucket, "Key": "k"}
    assert refused(s3.put_object, **where, Body=b"x", IfMatch='"none"') == (404, "NoSuchKey")
    etag = s3.put_object(**where, Body=b"one")["ETag"]
    assert refused(s3.put_object, **where, Body=b"x", IfMatch='"other"') == (412, "PreconditionFailed")
    assert refused(s3.put_object, **where, Body=b"x", IfNoneMatch=etag) == (501, "NotImplemented")
    s3.put_object(Bucket=a_bucket, Key="source", Body=b"copied")
    source = {"CopySource": {"Bucket": a_bucket, "Key": "source"}}
    assert refused(s3.copy_object, **where, **source, IfNoneMatch="*") == (412, "PreconditionFailed")
    s3.copy_object(**where, **source, IfMatch=etag)
    assert s3.get_object(**where)["Body"].read() == b"copied"
    assert refused(s3.delete_object, **where, IfMatch=etag) == (412, "PreconditionFailed")
    s3.delete_object(**where, IfMatch=s3.head_object(**where)["ETag"])
    upload = {**where, "UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    part = {"PartNumber": 1, "ETag": s3.upload_part(**upload, PartNumber=1, Body=b"part")["ETag"]}
    parts: dict[str, Any] = {"MultipartUpload": {"Parts": [part]}}
    assert refused(s3.complete_multipart_upload, **upload, **parts, IfMatch=etag) == (404, "NoSuchKey")
    s3.complete_multipart_upload(**upload, **parts, IfNoneMatch="*")
    s3.complete_multipart_upload(**upload, **parts, IfNoneMatch="*")  # again, as after a lost answer


def test_a_delete_during_a_conditional_write_is_a_conflict(server: RunningServer, s3: Any, a_bucket: str) -> None:
    s3.put_object(Bucket=a_bucket, Key="k", Body=b"before")
    slow = http.client.HTTPConnection(urlsplit(server.endpoint_url).netloc, timeout=HANG_S)
    slow.putrequest("PUT", f"/{a_bucket}/k")
    credential = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    for name, value in {"Content-Length": "4", "If-None-Match": "*", "Authorization": credential}.items():
        slow.putheader(name, value)
    slow.endheaders(b"on")  # the server has the request, and half of its body
    s3.head_object(Bucket=a_bucket, Key="k")
    s3.delete_object(Bucket=a_bucket, Key="k")
    slow.send(b"ce")
    answer = slow.getresponse()
    assert (answer.status, b"ConditionalRequestConflict" in answer.read()) == (409, True)


def test_a_read_while_the_object_is_replaced_is_of_one_object(s3: Any, a_bucket: str) -> None:
    bodies = [bytes([number]) * (1000 + number) for number in range(10)]
    s3.put_object(Bucket=a_bucket, Key="k", Body=bodies[0])
    over = threading.Event()

    def replace() -> None:
        while not over.is_set():
            for body in bodies:
                s3.put_object(Bucket=a_bucket, Key="k", Body=body, ChecksumAlgorithm="SHA256")

    with ThreadPoolExecutor(2) as pool:
        replacing = [pool.submit(replace) for _ in range(2)]
        try:
            for _ in range(150):
                assert s3.get_object(Bucket=a_bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() in bodies
        finally:
            over.set()
        for one in replacing:
            one.result()


def test_a_large_upload_costs_its_size_on_disk_and_no_memory(tmp_path: Path) -> None:
    """96 MiB, whole and as 12 parts of 8: moto itself would have them in memory twice or three times, and parts twice on disk."""
    with running(tmp_path / "state") as server:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="large")
        where = {"Bucket": "large", "Key": "weights"}
        upload = {**where, "UploadId": s3.create_multipart_upload(**where)["UploadId"]}
        block = os.urandom(8 << 20)
        s3.put_object(Bucket="large", Key="small", Body=b"x")
        before = peak_mib(server.pid)
        etag = s3.put_object(Bucket="large", Key="whole", Body=block * 12)["ETag"]
        assert peak_mib(server.pid) - before < 48
        assert etag.strip('"') == hashlib.md5(block * 12, usedforsecurity=False).hexdigest()
        assert s3.get_object(Bucket="large", Key="whole")["Body"].read() == block * 12
        s3.delete_objects(Bucket="large", Delete={"Objects": [{"Key": "whole"}, {"Key": "small"}]})
        parts = [
            {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=block)["ETag"]}
            for number in range(1, 13)
        ]
        before = peak_mib(server.pid)
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        assert peak_mib(server.pid) - before < 48
        objects = tmp_path / "state" / "moto" / "s3-objects"
        wait_until(lambda: len(list(objects.iterdir())) == 1, "the next snapshot, with which the parts' files go")
        assert [file.stat().st_size for file in objects.iterdir()] == [96 << 20]
        second = s3.get_object(**where, PartNumber=2)
        assert (second["Body"].read(), second["PartsCount"], second["ContentLength"]) == (block, 12, len(block))
        assert s3.get_object(**where, Range=f"bytes={(96 << 20) - 56}-")["Body"].read() == block[-56:]


def peak_mib(pid: int) -> float:
    """The most resident memory that a process has had."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
