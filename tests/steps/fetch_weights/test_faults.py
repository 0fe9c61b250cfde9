"""What goes wrong between a Hub and an S3, one thing a test: it is survived, or refused with nothing half-done left behind."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from delivery.aws import s3
from delivery.errors import DeliveryError
from delivery.hub import hub_repository as asking
from delivery.hub.fetch_settings import MIB, FetchSettings
from delivery.hub.selection import Selection
from delivery.weights.manifest import Manifest
from local_hub.faults import Fault as HubFault
from local_hub.hub import LocalHub
from steps.fetch_weights import step
from steps.fetch_weights.models import FetchArguments, WeightsOutput
from tests.steps.fetch_weights.faulty_s3 import OTHER_CHECKSUM, Fault, FaultyS3, faulty
from tests.support.worlds import fetching

FAST = FetchSettings(
    part_bytes=5 * MIB,
    first_pause_s=0.02,
    longest_pause_s=0.1,
    read_timeout_s=1,
    stop_grace_s=2,
    attempts=4,
    longest_retry_after_s=2,
)
FILES = fetching.model_files([6 * MIB, 2 * MIB])
SHARD = "model-00001-of-00002.safetensors"
_numbers = itertools.count()


class Scene:
    """A repository of its own, a Hub and an S3 that can both misbehave."""

    def __init__(self, hub: LocalHub, proxy: FaultyS3, repository: str, folder: Path) -> None:
        self.hub, self.s3, self.folder = hub, proxy, folder
        self.given = fetching.release(repository, hub.revision(repository))

    def fetch(self, settings: FetchSettings = FAST) -> WeightsOutput:
        return step.run(FetchArguments(self.given, self.hub.endpoint, "exec-1", self.folder), settings)

    def assert_complete(self) -> None:
        self.s3.faults.clear()
        fetching.assert_complete(self.s3.endpoint, self.given, FILES)

    def assert_refused(self, told: str, settings: FetchSettings = FAST) -> str:
        with pytest.raises(DeliveryError, match=told) as caught:
            self.fetch(settings)
        self.s3.faults.clear()
        fetching.assert_nothing_wrong(self.s3.endpoint, self.given, FILES)
        assert "manifest.json" not in fetching.keys(self.s3.endpoint, self.given)
        assert fetching.open_uploads(self.s3.endpoint, self.given) == []
        assert not (self.folder / "weights.json").exists()
        return str(caught.value)


@pytest.fixture
def scene(seaweed: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    repository = f"acme/faults-{next(_numbers)}"
    fetching.write_repository(root, repository, FILES)
    with LocalHub(root=root, builtin=False) as hub, faulty(seaweed) as proxy:
        for name, value in fetching.step_environment(proxy.endpoint).items():
            monkeypatch.setenv(name, value)
        yield Scene(hub, proxy, repository, tmp_path / "output")


@pytest.mark.parametrize(
    "fault",
    [
        HubFault("status", status=429, retry_after_s=1),
        HubFault("status", status=500, times=3),
        HubFault("status", where="hub", status=503, times=2),
        HubFault("expired"),
        HubFault("truncate", at_byte=3 * MIB, times=3),
        HubFault("reset", times=2),
        HubFault("stall", stall_s=2),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.where}-{fault.status}",
)
def test_a_bad_day_at_the_hub_is_survived(scene: Scene, fault: HubFault) -> None:
    scene.hub.faults.add(fault)
    assert scene.fetch().fetched_bytes == sum(map(len, FILES.values()))
    scene.assert_complete()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (HubFault("corrupt", path=f"*/{SHARD}", at_byte=11 * MIB // 2, times=None), SHARD),
        (HubFault("changed", path=f"*/{SHARD}", times=None), SHARD),
        (HubFault("corrupt", path="*/config.json", where="hub", after=3), "config.json.*git blob sha1"),
        (HubFault("ignore-range", path=f"*/{SHARD}", times=None), "answered 200 to a request for bytes="),
        (HubFault("status", status=500, times=None), "in 4 tries"),
        (HubFault("status", status=429, retry_after_s=3600, times=None), "asks to wait 3600 s"),
        (HubFault("expired", path=f"*/{SHARD}", times=None), "asking for another"),
    ],
    ids=lambda value: value.kind if isinstance(value, HubFault) else "",
)
def test_a_hub_that_stays_wrong_is_refused(scene: Scene, fault: HubFault, told: str) -> None:
    scene.hub.faults.add(fault)
    scene.assert_refused(told)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "PUT", "partNumber", times=2),
        Fault("status", "PUT", "partNumber", status=503, code="SlowDown", times=3),
        Fault("status", "POST", "uploads", times=2),
        Fault("status", "POST", "uploadId", status=503, code="SlowDown"),
        Fault("status", "PUT", "config.json", status=503, code="SlowDown"),
        Fault("hang", "PUT", "partNumber"),
        Fault("flip", "PUT", "partNumber"),
        Fault("drop", "PUT", "partNumber"),
        Fault("drop", "POST", "uploads"),
        Fault("drop", "POST", "uploadId"),
        Fault("drop", "PUT", "manifest.json"),
        Fault("status", "GET", "list-type", times=2),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.method}-{fault.target}-{fault.code}",
)
def test_a_bad_day_at_s3_is_survived(scene: Scene, fault: Fault) -> None:
    scene.s3.faults.append(fault)
    scene.fetch()
    assert fault.times == 0
    scene.assert_complete()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("status", "PUT", "partNumber", times=99), "write part .* in 4 tries"),
        (Fault("flip", "PUT", "partNumber", times=99), "BadDigest"),
        (Fault("status", "PUT", "partNumber", status=403, code="AccessDenied", times=99), "AccessDenied"),
        (Fault("status", "POST", "uploads", status=403, code="AccessDenied", times=99), "give the step's role that permission"),
        (Fault("status", "POST", "uploadId", times=99), "complete s3://.*InternalError"),
        (Fault("status", "PUT", "manifest.json", status=403, code="AccessDenied", times=99), "write s3://.*manifest.json"),
    ],
    ids=lambda value: f"{value.kind}-{value.method}-{value.target}-{value.code}" if isinstance(value, Fault) else "",
)
def test_an_s3_that_stays_wrong_is_refused_and_the_next_run_completes_it(scene: Scene, fault: Fault, told: str) -> None:
    scene.s3.faults.append(fault)
    scene.assert_refused(told)
    scene.fetch()
    scene.assert_complete()


def test_an_upload_that_was_completed_and_never_answered_is_not_fetched_again(scene: Scene) -> None:
    """S3 may say to the second request that there is no such upload (API reference of CompleteMultipartUpload)."""
    completion = "00001-of-00002.safetensors?uploadId"  # of one of the two files that are on their way at once
    gone = Fault("status", "POST", completion, status=404, code="NoSuchUpload")
    scene.s3.faults += [Fault("drop", "POST", completion), gone]
    scene.fetch(
        replace(FAST, read_timeout_s=30)
    )  # the second request comes after the first is done, however busy this machine is
    assert gone.times == 0
    scene.assert_complete()


def test_an_upload_that_somebody_aborted_is_refused(scene: Scene) -> None:
    scene.s3.faults.append(Fault("status", "POST", "uploadId", status=404, code="NoSuchUpload"))
    scene.assert_refused("complete s3://.*NoSuchUpload")


def test_every_call_names_the_account_that_the_bucket_must_belong_to(scene: Scene) -> None:
    scene.fetch()
    owners = {r.expected_owner for r in scene.s3.requests}
    assert owners == {scene.given.environment.account_id}
    assert {r.method for r in scene.s3.requests} == {"GET", "HEAD", "POST", "PUT"}


def test_the_manifest_is_written_last_and_only_where_there_is_none(scene: Scene) -> None:
    scene.fetch()
    written = [r for r in scene.s3.requests if r.method in {"PUT", "POST"} and "/weights/" in r.path]
    assert written[-1].path.endswith("/manifest.json")
    assert [r.path for r in written if r.if_none_match == "*"] == [written[-1].path]


def test_a_later_fetch_costs_one_listing_and_one_manifest_read(scene: Scene) -> None:
    first = scene.fetch()
    scene.s3.requests.clear()
    asked = len(scene.hub.requests)
    later = scene.fetch()
    assert (later.fetched_bytes, later.manifest_sha256) == (0, first.manifest_sha256)
    assert len(scene.hub.requests) == asked
    of_weights = [r for r in scene.s3.requests if "weights/" in unquote(r.target)]
    assert ["list-type" in r.target for r in of_weights] == [True, False]
    assert [r.method for r in of_weights] == ["GET", "GET"]
    assert of_weights[1].path.endswith("/manifest.json")


def test_what_the_journal_does_not_tell_is_fetched_again_and_nothing_else(scene: Scene) -> None:
    scene.s3.faults.append(Fault("status", "PUT", "manifest.json", status=403, code="AccessDenied", times=99))
    scene.assert_refused("AccessDenied")
    entry = fetching.prefix_of(scene.given).removesuffix("/") + f".journal/{SHARD}.json"
    fetching.client(scene.s3.endpoint).put_object(Bucket=fetching.BUCKET, Key=entry, Body=b"{}")
    asked = len(scene.hub.requests)
    assert scene.fetch().fetched_bytes == sum(map(len, FILES.values()))  # by this execution, in both tries
    assert {r.path.split("?")[0].rsplit("/", 1)[-1] for r in scene.hub.requests[asked:] if r.where == "cdn"} == {SHARD}
    scene.assert_complete()


def test_a_finished_file_is_not_sent_again(scene: Scene) -> None:
    scene.s3.faults.append(Fault("status", "PUT", "manifest.json", status=403, code="AccessDenied", times=99))
    scene.assert_refused("AccessDenied")
    scene.s3.requests.clear()
    before = len([r for r in scene.hub.requests if r.where == "cdn"])
    scene.fetch()
    assert not [r for r in scene.s3.requests if "partNumber" in r.target]
    assert len([r for r in scene.hub.requests if r.where == "cdn"]) == before


def test_an_object_that_was_overwritten_after_the_manifest_is_fetched_again(scene: Scene) -> None:
    scene.fetch()
    first = fetching.body(scene.s3.endpoint, scene.given, "manifest.json")
    time.sleep(1.1)  # S3 tells times in whole seconds
    key = fetching.prefix_of(scene.given) + SHARD
    fetching.client(scene.s3.endpoint).put_object(Bucket=fetching.BUCKET, Key=key, Body=b"x" * len(FILES[SHARD]))
    assert scene.fetch().fetched_bytes >= len(FILES[SHARD])
    scene.assert_complete()
    assert fetching.body(scene.s3.endpoint, scene.given, "manifest.json") == first


def test_an_s3_without_checksums_is_never_said_to_have_confirmed(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.s3.hides_checksums = True
    scene.fetch()
    assert "this S3 reports no full-object CRC64NVME (5 of 5 files)" in caplog.text
    manifest = Manifest.model_validate_json(fetching.body(scene.s3.endpoint, scene.given, "manifest.json"))
    assert not any(f.crc64nvme_confirmed_by_s3 for f in manifest.files)
    scene.assert_complete()


@pytest.mark.parametrize("path", [SHARD, "config.json"], ids=["in parts", "whole"])
def test_an_object_with_another_checksum_than_was_sent_is_deleted_and_refused(scene: Scene, path: str) -> None:
    scene.s3.faults.append(Fault("misreport", "HEAD", path))
    scene.assert_refused(rf"S3 stored \S+/{path} with [\d,]+ bytes and CRC64NVME {OTHER_CHECKSUM}, sent were .* was deleted")
    assert path not in fetching.keys(scene.s3.endpoint, scene.given)


def test_an_execution_that_was_overtaken_accepts_what_the_other_completed(scene: Scene, tmp_path: Path) -> None:
    """Its uploads are gone when the other has swept up; that is no failure."""
    swept = Fault("status", "PUT", "partNumber", status=404, code="NoSuchUpload", times=99)
    fetch = step.Fetch(
        FetchArguments(scene.given, scene.hub.endpoint, "slow", tmp_path / "slow"), s3.client("us-east-1"), FAST, {}
    )
    move = fetch.move

    def overtaken() -> step.CompletedPrefix:
        scene.fetch()
        scene.s3.faults.append(swept)
        return move()

    fetch.move = overtaken  # type: ignore[method-assign]
    assert fetch.complete().fetched_bytes == 0
    assert swept.times < 99


def test_what_does_not_belong_under_the_prefix_is_named_and_nothing_moves(scene: Scene) -> None:
    key = fetching.prefix_of(scene.given) + "pickled.bin"
    fetching.client(scene.s3.endpoint).put_object(Bucket=fetching.BUCKET, Key=key, Body=b"x")
    with pytest.raises(DeliveryError, match=r"differs from .* in pickled\.bin") as caught:
        scene.fetch()
    assert caught.value.exit_code == 2
    assert not [r for r in scene.s3.requests if "partNumber" in r.target]


def test_a_commit_that_is_gone_since_the_listing(scene: Scene, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def then_rewrite(selection: Selection) -> Selection:
        (root / selection.repository / SHARD).write_bytes(b"force-pushed")
        return selection

    after_listing(monkeypatch, then_rewrite)
    scene.assert_refused("is gone: it was listed, now the answer is 404; a commit cannot change")


def test_a_file_that_is_another_since_the_listing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def then_differ(selection: Selection) -> Selection:
        files = [replace(f, sha256="0" * 64) if f.path == SHARD else f for f in selection.files]
        return replace(selection, files=tuple(files))

    after_listing(monkeypatch, then_differ)
    scene.assert_refused(f"{SHARD} changed since it was listed.*a commit cannot change")


def after_listing(monkeypatch: pytest.MonkeyPatch, act: Callable[[Selection], Selection]) -> None:
    choose_files = asking.choose_files
    monkeypatch.setattr(asking, "choose_files", lambda *arguments: act(choose_files(*arguments)))
