"""The step as SageMaker runs it: a process between a Hub and an S3."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from local_hub.faults import Fault
from local_hub.hub import LocalHub
from tests.support.waiting import wait_until
from tests.support.worlds import fetching

MIB = 1024**2


def test_every_byte_arrives_and_s3_confirms_the_checksums(seaweed: str, root: Path, tmp_path: Path) -> None:
    files = fetching.model_files([40 * MIB + 17, 16 * MIB, 3])
    fetching.write_repository(root, "acme/model", files)
    with LocalHub(root=root, builtin=False) as hub:
        given = fetching.release("acme/model", hub.revision("acme/model"), memory_bytes=64 * MIB)  # the least there may be
        step = fetching.Step(given, hub.endpoint, seaweed, tmp_path / "job")
        code, log = step.finish()
        assert code == 0, log
        assert not any(r.had_token for r in hub.requests)
    s3 = fetching.client(seaweed)
    prefix = f"weights/acme/model/{given.model.weights.revision}/"
    manifest = json.loads(s3.get_object(Bucket=fetching.BUCKET, Key=prefix + "manifest.json")["Body"].read())
    assert {f["path"]: (f["size"], f["sha256"]) for f in manifest["files"]} == {
        path: (len(content), hashlib.sha256(content).hexdigest()) for path, content in files.items()
    }
    for file in manifest["files"]:
        head = s3.head_object(Bucket=fetching.BUCKET, Key=prefix + file["path"], ChecksumMode="ENABLED")
        assert head["ChecksumCRC64NVME"] == file["crc64nvme"]
        assert file["crc64nvme_confirmed_by_s3"]
        assert s3.get_object(Bucket=fetching.BUCKET, Key=prefix + file["path"])["Body"].read() == files[file["path"]]
    body = s3.get_object(Bucket=fetching.BUCKET, Key=prefix + "manifest.json")["Body"].read()
    assert step.weights["manifest_sha256"] == hashlib.sha256(body).hexdigest()
    assert step.weights["total_bytes"] == step.weights["fetched_bytes"] == sum(map(len, files.values()))
    assert not s3.list_multipart_uploads(Bucket=fetching.BUCKET, Prefix=prefix).get("Uploads")


def test_wrong_bytes_store_nothing(seaweed: str, root: Path, tmp_path: Path) -> None:
    files = fetching.model_files([33 * MIB, 2 * MIB])
    fetching.write_repository(root, "acme/broken", files)
    bad = "model-00001-of-00002.safetensors"
    with LocalHub(root=root, builtin=False) as hub:
        hub.faults.add(Fault("corrupt", path=f"*/{bad}", at_byte=20 * MIB, times=None))
        given = fetching.release("acme/broken", hub.revision("acme/broken"))
        step = fetching.Step(given, hub.endpoint, seaweed, tmp_path / "job")
        code, log = step.finish()
    assert code == 1, log
    corrupt = bytearray(files[bad])
    corrupt[20 * MIB] ^= 1
    message = step.message.read_text()
    for told in (bad, hashlib.sha256(files[bad]).hexdigest(), hashlib.sha256(corrupt).hexdigest()):
        assert told in message
    s3 = fetching.client(seaweed)
    prefix = f"weights/acme/broken/{given.model.weights.revision}/"
    keys = {item["Key"] for item in s3.list_objects_v2(Bucket=fetching.BUCKET, Prefix=prefix).get("Contents", [])}
    assert prefix + bad not in keys
    assert prefix + "manifest.json" not in keys
    assert not s3.list_multipart_uploads(Bucket=fetching.BUCKET, Prefix=prefix).get("Uploads")
    assert not step.output.exists()


def test_sigterm_leaves_nothing_half_done(seaweed: str, root: Path, tmp_path: Path) -> None:
    files = fetching.model_files([100 * MIB])
    fetching.write_repository(root, "acme/stopped", files)
    with LocalHub(root=root, builtin=False, rate_bytes_per_s=40e6) as hub:
        given = fetching.release("acme/stopped", hub.revision("acme/stopped"))
        step = fetching.Step(given, hub.endpoint, seaweed, tmp_path / "job")
        wait_until(lambda: fetching.open_uploads(seaweed, given), "an upload is under way")
        step.process.terminate()
        code, log = step.finish()
    assert code == 143, log
    assert re.search(r"^progress: .* of 105\.0 MB, Hub .*B/s, S3 .*B/s, \d of 4 files, \d+ s left", log, re.MULTILINE), log
    assert fetching.open_uploads(seaweed, given) == []
    assert "manifest.json" not in fetching.keys(seaweed, given)
    fetching.assert_nothing_wrong(seaweed, given, files)
