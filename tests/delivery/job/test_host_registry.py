"""The hosts of one job: who they are, and which of them lives, by their heartbeats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from delivery.aws import s3
from delivery.errors import DeliveryError, InputError
from delivery.job import host_registry
from delivery.job.host_registry import HostRegistry, JobHosts
from tests.delivery.fake_s3 import FakeS3

FOLDER = "weights/qwen.hosts/e1"
NAMES = ("algo-1", "algo-2", "algo-3")


@dataclass(frozen=True)
class Timing:
    """No beat but the test's, and limits in whole seconds of its clock."""

    heartbeat_s: float = 3600
    host_silence_s: float = 60
    host_start_s: float = 600
    stop_grace_s: float = 5


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("delivery.job.host_registry.time.monotonic", made)
    return made


@pytest.fixture
def stored() -> FakeS3:
    return FakeS3()


@pytest.fixture
def registry(stored: FakeS3, clock: Clock) -> Iterator[HostRegistry]:
    with of(stored, "algo-1") as made:
        yield made


def of(stored: FakeS3, current: str) -> HostRegistry:
    prefix = s3.S3Uri("release", "weights/qwen/")
    return HostRegistry(stored.client, prefix, "e1", JobHosts(NAMES, current), Timing(), lambda: "half-way")


def beat(stored: FakeS3, name: str, number: int, state: str = "running", detail: str = "half-way") -> None:
    """Write a heartbeat as that host does."""
    written = {"schema_version": 1, "number": number, "state": state, "detail": detail}
    stored.objects[f"{FOLDER}/{name}.json"] = json.dumps(written).encode()


def test_a_host_says_that_it_lives_and_how_it_ended(stored: FakeS3, clock: Clock) -> None:
    with of(stored, "algo-2"):
        assert json.loads(stored.objects[f"{FOLDER}/algo-2.json"]) == {
            "schema_version": 1,
            "number": 1,
            "state": "running",
            "detail": "starting",
        }
    ended = json.loads(stored.objects[f"{FOLDER}/algo-2.json"])
    assert (ended["number"], ended["state"], ended["detail"]) == (2, "done", "")
    with pytest.raises(DeliveryError), of(stored, "algo-2"):
        raise DeliveryError("the Hub gave up" + "!" * 600)
    ended = json.loads(stored.objects[f"{FOLDER}/algo-2.json"])
    assert (ended["state"], ended["detail"]) == ("failed", "the Hub gave up" + "!" * 485)


def test_others_may_start_later_but_not_for_ever(registry: HostRegistry, stored: FakeS3, clock: Clock) -> None:
    clock.now += 600
    assert registry.check() is None
    clock.now += 1
    assert registry.check() == "algo-2 has not started within 600 s"
    beat(stored, "algo-2", 1)
    assert registry.check() == "algo-3 has not started within 600 s"


def test_a_host_that_goes_on_beating_lives(registry: HostRegistry, stored: FakeS3, clock: Clock) -> None:
    for number in range(1, 30):
        for name in NAMES[1:]:
            beat(stored, name, number)
        assert registry.check() is None
        clock.now += 60


def test_a_beat_that_does_not_change_is_none(registry: HostRegistry, stored: FakeS3, clock: Clock) -> None:
    beat(stored, "algo-2", 1)
    beat(stored, "algo-3", 1, "done")
    assert registry.check() is None
    clock.now += 60
    assert registry.check() is None
    clock.now += 1
    assert registry.check() == "algo-2 has been silent for 61 s (it had half-way)"
    beat(stored, "algo-2", 2)
    assert registry.check() is None, "it was slow"


def test_a_host_that_is_done_may_be_silent(registry: HostRegistry, stored: FakeS3, clock: Clock) -> None:
    for name in NAMES[1:]:
        beat(stored, name, 2, "done", "")
    assert registry.check() is None
    clock.now += 1e6
    assert registry.check() is None


def test_a_host_that_failed_says_why(registry: HostRegistry, stored: FakeS3) -> None:
    beat(stored, "algo-2", 1)
    beat(stored, "algo-3", 2, "failed", "the Hub gave up")
    assert registry.check() == "algo-3 failed: the Hub gave up"
    assert registry.check(["algo-2"]) is None, "nobody asked about it"


def test_what_else_shows_that_a_host_lives_counts_as_a_beat(registry: HostRegistry, stored: FakeS3, clock: Clock) -> None:
    clock.now += 590
    registry.heard("algo-2")
    clock.now += 60
    assert registry.check(["algo-2"]) is None
    clock.now += 1
    assert registry.check(["algo-2"]) == "algo-2 has been silent for 61 s (it had started)"


def test_beats_of_an_earlier_try_are_none_of_this_one(stored: FakeS3, clock: Clock) -> None:
    beat(stored, "algo-2", 7, "failed", "of yesterday")
    with of(stored, "algo-1") as registry:
        assert registry.check(["algo-2"]) is None
        clock.now += 601
        assert registry.check(["algo-2"]) == "algo-2 has not started within 600 s"
        beat(stored, "algo-2", 1)
        assert registry.check(["algo-2"]) is None


def test_what_is_no_beat_is_named(registry: HostRegistry, stored: FakeS3) -> None:
    stored.objects[f"{FOLDER}/algo-2.json"] = b"{}"
    with pytest.raises(DeliveryError, match=r"algo-2\.json is not a host's beat of this version"):
        registry.check()


def test_the_hosts_are_read_as_sagemaker_names_them(tmp_path: Path) -> None:
    config = tmp_path / "resourceconfig.json"
    config.write_text('{"current_host": "algo-2", "hosts": ["algo-10", "algo-2", "algo-1"]}')
    read = host_registry.read_hosts(config, 3)
    assert (read.names, read.index) == (("algo-1", "algo-10", "algo-2"), 2)
    assert host_registry.read_hosts(tmp_path / "absent", 1).names == ("algo-1",)
    with pytest.raises(InputError, match=r"weights\.hosts is 2"):
        host_registry.read_hosts(tmp_path / "absent", 2)
    config.write_text('{"current_host": "algo-9", "hosts": ["algo-1"]}')
    with pytest.raises(InputError, match="'algo-9' is not among hosts algo-1"):
        host_registry.read_hosts(config, 1)
    job = tmp_path / "processingjobconfig.json"
    assert host_registry.read_job_name(job) is None
    job.write_text('{"ProcessingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:processing-job/pipelines-x-FetchWeights-y"}')
    assert host_registry.read_job_name(job) == "pipelines-x-FetchWeights-y"
