"""Load profiles of every kind that makes its requests itself, put on a server that keeps what it was asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from loadtest.errors import InvalidInput
from loadtest.generator.worker_pool import WorkerPool
from loadtest.inputs import LoadInputs
from loadtest.profile_file import read_profiles
from loadtest.profiles import LoadProfile
from loadtest.runner import Runner
from tests.support.scripted_server import WHOLE, Scripted, framed, serving, transport

READ: TypeAdapter[LoadProfile] = TypeAdapter(LoadProfile)
COMMON: dict[str, Any] = {"warmup_s": 0, "duration_s": 1, "objectives": {"error_rate": {"at_most": 0}}}
PROFILES: dict[str, dict[str, Any]] = {
    "closed_loop": {"concurrency": 3, "duration_at_most_s": 1},
    "ladder": {"concurrencies": [1, 3]},
    "open_loop": {"rate_per_s": 100, "duration_at_most_s": 1},
    "ramp": {"from_rate_per_s": 50, "to_rate_per_s": 150},
    "capacity": {"start_rate_per_s": 60, "highest_rate_per_s": 60},
}


def profile(kind: str, **changes: Any) -> Any:
    return READ.validate_python({"kind": kind, **COMMON, **PROFILES[kind], **changes})


def put_on(pool: WorkerPool, folder: Path, wanted: LoadProfile, way: str = "openai", seed: str = "s") -> list[dict[str, Any]]:
    """What arrives at a server when a profile is put on it: each request's JSON."""
    with pytest.MonkeyPatch.context() as environment, serving(Scripted(framed(way, WHOLE))) as server:
        environment.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        with pool:
            Runner(pool, lambda _: transport(way, server.url), LoadInputs(lambda _: None, folder), seed=seed).run(
                wanted, 0, lambda _: None
            )
        return [json.loads(request.split(b"\r\n\r\n", 1)[1]) for request in server.requests]


def refused(folder: Path, name: str, text: str) -> str:
    """Why a file of profiles is refused, without the file's name."""
    file = folder / name
    file.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_profiles(file)
    return str(caught.value).removeprefix(str(file))
