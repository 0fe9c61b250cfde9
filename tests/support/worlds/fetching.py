"""What fetch tests need: releases, repositories, moto and SeaweedFS as S3, the step as a process."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from config.schema import Release
from tests.support.forked import start_anew, start_module
from tests.support.waiting import wait_until

BUCKET = "weights-test"
REVISION = "0" * 40
ROLE = "arn:aws:iam::123456789012:role/test"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/test:local"
ROOT = Path(__file__).parents[3]


def release(repository: str, revision: str = REVISION, *, environment: dict[str, Any] | None = None, **weights: Any) -> Release:
    """A release of `repository`, with more of `weights` and `environment` than the least on demand."""
    return Release.model_validate(
        {
            "name": "test",
            "model": {
                "weights": {"hub": "local", "repository": repository, "revision": revision, **weights},
                "serving": {"instance_type": "ml.g6.xlarge", "tensor_parallel_size": 1},
                "evaluation": {
                    "load_profiles": {
                        "chat": {
                            "kind": "closed_loop",
                            "concurrency": 1,
                            "prompt_tokens": 8,
                            "output_tokens": 8,
                            "duration_s": 1,
                            "objectives": {"error_rate": {"at_most": 0}},
                        }
                    }
                },
                "production": {"endpoint": "test"},
            },
            "environment": {
                "kind": "local",
                "region": "us-east-1",
                "account_id": "123456789012",
                "bucket": BUCKET,
                "roles": dict.fromkeys(["pipeline", "fetch", "evaluate", "promote", "serve"], ROLE),
                "images": {"steps": IMAGE, "serving": IMAGE},
                **(environment or {}),
            },
            "serving_image": IMAGE,
        }
    )


def write_repository(root: Path, repository: str, files: dict[str, bytes]) -> Path:
    """A folder that local_hub serves as `repository`."""
    folder = root / repository
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that repeat nowhere, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def shard(size: int, seed: int = 0) -> bytes:
    """A safetensors file of so many bytes (10 at least), with one tensor of noise where there is room for it."""
    header, tensor_bytes = b"{}", 0
    if size >= _LEAST_SHARD_BYTES:
        tensor_bytes = size - _LEAST_SHARD_BYTES
        tensor = {"dtype": "U8", "shape": [tensor_bytes], "data_offsets": [0, tensor_bytes]}
        header = json.dumps({f"layer.{seed}": tensor}).encode()
    header = header.ljust(size - tensor_bytes - 8)
    return len(header).to_bytes(8, "little") + header + noise(tensor_bytes, seed)


_LEAST_SHARD_BYTES = 128


def model_files(shard_bytes: list[int]) -> dict[str, bytes]:
    """A small model in shards, as repositories have it."""
    names = [f"model-{n:05}-of-{len(shard_bytes):05}.safetensors" for n in range(1, len(shard_bytes) + 1)]
    index = {"metadata": {}, "weight_map": {f"layer.{n}": name for n, name in enumerate(names)}}
    return {
        "config.json": json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}).encode(),
        "tokenizer.json": noise(100_000, 99),
        "model.safetensors.index.json": json.dumps(index).encode(),
        **{name: shard(size, n) for n, (name, size) in enumerate(zip(names, shard_bytes, strict=True))},
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@cache
def client(endpoint: str) -> Any:
    """A plain S3 client, to look at what was stored."""
    return boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="test-key",
        aws_secret_access_key="test-secret",
        config=Config(retries={"total_max_attempts": 2}),
    )


def step_environment(endpoint: str) -> dict[str, str]:
    """What a job's process finds: the address of AWS and credentials."""
    return {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class Step:
    """`python -m steps.fetch_weights` as a process."""

    def __init__(
        self, given: Release, hub: str, aws: str, folder: Path, *more: str, execution: str = "exec-1", forked: bool = True
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.output = folder / "output"
        self.message = folder / "message"
        self.release = folder / "release.json"
        self.release.write_text(given.to_json())
        arguments = ["--release", str(self.release), "--hub-endpoint", hub, "--execution", execution]
        results = ["--output", str(self.output), "--message-file", str(self.message)]
        self.log = folder / "log"
        start = start_module if forked else start_anew
        self.process = start("steps.fetch_weights", [*arguments, *results, *more], step_environment(aws), self.log)

    def finish(self) -> tuple[int, str]:
        """Exit code and log."""
        return self.process.wait(), self.log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def weights(self) -> dict[str, Any]:
        """weights.json."""
        found: dict[str, Any] = json.loads((self.output / "weights.json").read_text())
        return found


@contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """A SeaweedFS with the bucket, an S3 that checks checksums; gives its address."""
    folder.mkdir(parents=True, exist_ok=True)
    identities = {
        "identities": [
            {
                "name": "test",
                "credentials": [{"accessKey": "test-key", "secretKey": "test-secret"}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            }
        ]
    }
    (folder / "s3.json").write_text(json.dumps(identities))
    ports = {name: free_port() for name in ("master.port", "volume.port", "filer.port", "s3.port")}
    ports |= {name.replace("port", "port.grpc"): free_port() for name in ports}
    log = (folder / "log").open("w")
    weed = subprocess.Popen(
        [str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        + ["-master.volumeSizeLimitMB=1024", "-volume.max=20", "-s3", f"-s3.config={folder / 's3.json'}"]
        + ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # their fixed ports would allow one such server a machine
        + [f"-{name}={port}" for name, port in ports.items()],
        stdout=log,
        stderr=log,
    )
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        _wait_for_bucket(endpoint, weed, folder / "log")
        yield endpoint
    finally:
        weed.kill()
        weed.wait()
        log.close()


def _wait_for_bucket(endpoint: str, weed: subprocess.Popen[bytes], log: Path) -> None:
    def is_usable() -> bool:
        try:
            client(endpoint).create_bucket(Bucket=BUCKET)
            client(endpoint).put_object(Bucket=BUCKET, Key="probe", Body=b"x")
            client(endpoint).delete_object(Bucket=BUCKET, Key="probe")
        except (BotoCoreError, ClientError):
            assert weed.poll() is None, f"SeaweedFS did not start: {log.read_text()[-2000:]}"
            return False
        return True

    wait_until(is_usable, "SeaweedFS is there")


def prefix_of(given: Release) -> str:
    """The key prefix of its weights."""
    return given.weights_prefix.removeprefix(f"s3://{BUCKET}/")


def objects(endpoint: str, given: Release) -> dict[str, str]:
    """The entity tags of what is under its weights prefix, by path."""
    prefix = prefix_of(given)
    found = client(endpoint).list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {item["Key"].removeprefix(prefix): item["ETag"] for item in found}


def keys(endpoint: str, given: Release) -> set[str]:
    """The paths under its weights prefix."""
    return set(objects(endpoint, given))


def body(endpoint: str, given: Release, path: str) -> bytes:
    """An object under its weights prefix."""
    return bytes(client(endpoint).get_object(Bucket=BUCKET, Key=prefix_of(given) + path)["Body"].read())


def open_uploads(endpoint: str, given: Release) -> list[str]:
    """The keys of unfinished multipart uploads under its weights prefix."""
    found = client(endpoint).list_multipart_uploads(Bucket=BUCKET, Prefix=prefix_of(given)).get("Uploads", [])
    return [upload["Key"] for upload in found]


def assert_nothing_wrong(endpoint: str, given: Release, files: dict[str, bytes], seen: dict[str, bytes] | None = None) -> None:
    """Whatever is under the prefix is whole and right; a manifest is there only when everything is.

    Between calls `seen` keeps the objects that were looked at, by entity tag: those are not read again.
    """
    seen = {} if seen is None else seen
    found = objects(endpoint, given)
    paths = found.keys() - {"manifest.json"}
    assert paths <= files.keys()
    for path in paths:
        if found[path] not in seen:
            seen[found[path]] = body(endpoint, given, path)
        assert seen[found[path]] == files[path], path
    if "manifest.json" in found:
        assert paths == files.keys()


def assert_complete(endpoint: str, given: Release, files: dict[str, bytes]) -> None:
    """Everything is there and right, and nothing else."""
    assert keys(endpoint, given) == files.keys() | {"manifest.json"}
    assert_nothing_wrong(endpoint, given, files)
    assert open_uploads(endpoint, given) == []
