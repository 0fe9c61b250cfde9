"""SIGKILL at any moment: nothing half-done is ever visible, and the next run does only what is left."""

from __future__ import annotations

import json
import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from delivery.job.host_registry import JobHosts
from local_hub.hub import LocalHub
from tests.steps.fetch_weights import workers
from tests.support.waiting import HANG_S, WHOLE_SYSTEM_S, wait_until
from tests.support.worlds import fetching

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

MIB = 1024**2
KILLS = 20


def test_twenty_kills(seaweed: str, root: Path, tmp_path: Path) -> None:
    files = fetching.model_files([11 * MIB // 2] * 14)  # two parts each
    fetching.write_repository(root, "acme/killed", files)
    given_path, job = tmp_path / "release.json", tmp_path / "job"
    moments = random.Random(4)
    finished: set[str] = set()
    in_the_middle = 0
    seen: dict[str, bytes] = {}
    with LocalHub(root=root, builtin=False, rate_bytes_per_s=40e6) as hub:
        given = fetching.release("acme/killed", hub.revision("acme/killed"))
        given_path.write_text(given.to_json())
        for number in range(KILLS):
            asked_before = len(hub.requests)
            process = workers.start(given_path, hub.endpoint, seaweed, job, f"exec-{number}")
            kill_after(process, hub, asked_before + moments.randrange(16), moments.uniform(0, 0.2))
            fetching.assert_nothing_wrong(seaweed, given, files, seen)
            assert (job / "output" / "weights.json").exists() == (process.exitcode == 0)
            again = {r.path.split("/")[-1].split("?")[0] for r in hub.requests[asked_before:] if r.where == "cdn"}
            assert not again & finished, (job / "log").read_text()
            finished = journaled(seaweed, given.weights_prefix)
            in_the_middle += bool(again) and finished < files.keys()
        assert in_the_middle >= KILLS // 3
        hub.set_rate(None)
        last = workers.start(given_path, hub.endpoint, seaweed, job, "exec-last")
        last.join(HANG_S)
    assert last.exitcode == 0, (job / "log").read_text()
    fetching.assert_complete(seaweed, given, files)


def kill_after(process: BaseProcess, hub: LocalHub, requests: int, more_s: float) -> None:
    """SIGKILL a while after the Hub has been asked so much in all: as random on a busy machine as on an idle one."""
    while len(hub.requests) < requests and process.is_alive():
        time.sleep(0.005)
    process.join(more_s)
    process.kill()
    process.join()


def journaled(endpoint: str, weights_prefix: str) -> set[str]:
    prefix = weights_prefix.removeprefix(f"s3://{fetching.BUCKET}/").removesuffix("/") + ".journal/"
    found = fetching.client(endpoint).list_objects_v2(Bucket=fetching.BUCKET, Prefix=prefix).get("Contents", [])
    return {item["Key"].removeprefix(prefix).removesuffix(".json") for item in found}


def test_one_host_of_three_is_killed_and_the_others_say_what_is_left(seaweed: str, root: Path, tmp_path: Path) -> None:
    files = fetching.model_files([12 * MIB] * 6)
    fetching.write_repository(root, "acme/hosts", files)
    release = tmp_path / "release.json"
    names = ("algo-1", "algo-2", "algo-3")
    with LocalHub(root=root, builtin=False, rate_bytes_per_s=40e6) as hub:
        given = fetching.release("acme/hosts", hub.revision("acme/hosts"), hosts=3)
        release.write_text(given.to_json())

        def job(folder: Path, execution: str) -> list[BaseProcess]:
            return [workers.start(release, hub.endpoint, seaweed, folder / n, execution, JobHosts(names, n)) for n in names]

        first = job(tmp_path / "first", "exec-1")
        for name in (*names, "algo-2"):  # algo-2 again: the others have come and have seen it live
            wait_for_beat(seaweed, given.weights_prefix, name)
        first[1].kill()
        for process in first:
            process.join(HANG_S)
        assert [p.exitcode for p in first] == [1, -9, 1]
        message = (tmp_path / "first" / "algo-1" / "message").read_text()
        assert "algo-2 has been silent for" in message
        assert "left are" in message
        left = {path for path in files if path not in fetching.keys(seaweed, given)}
        assert left
        assert any(path in message for path in left)
        assert "manifest.json" not in fetching.keys(seaweed, given)
        fetching.assert_nothing_wrong(seaweed, given, files)
        done = journaled(seaweed, given.weights_prefix)
        asked = len(hub.requests)
        hub.set_rate(None)
        second = job(tmp_path / "second", "exec-2")
        for process in second:
            process.join(HANG_S)
        assert [p.exitcode for p in second] == [0, 0, 0], (tmp_path / "second" / "algo-1" / "log").read_text()
        again = {r.path.split("/")[-1].split("?")[0] for r in hub.requests[asked:] if r.where == "cdn"}
        assert not again & done
    fetching.assert_complete(seaweed, given, files)
    outputs = [json.loads((tmp_path / "second" / n / "output" / "weights.json").read_text()) for n in names]
    assert len({output["manifest_sha256"] for output in outputs}) == 1
    assert {output["fetched_bytes"] for output in outputs} == {sum(len(files[path]) for path in files.keys() - done)}


def wait_for_beat(endpoint: str, weights_prefix: str, host: str) -> None:
    """Until the host has said once more that it lives."""
    key = weights_prefix.removeprefix(f"s3://{fetching.BUCKET}/").removesuffix("/") + f".hosts/exec-1/{host}.json"
    seen: set[str] = set()

    def beats_twice() -> bool:
        found = fetching.client(endpoint).list_objects_v2(Bucket=fetching.BUCKET, Prefix=key).get("Contents", [])
        seen.update(item["ETag"] for item in found)
        return len(seen) > 1

    wait_until(beats_twice, f"{host} says that it lives")
