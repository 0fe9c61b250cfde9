"""The lease of a production endpoint: one owner at a time, and a dead one's expires."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from unittest import mock

import pytest

from delivery.endpoint import lease
from delivery.errors import LeaseHeld, LeaseLost
from sagemaker_local.testing import running
from tests.support.waiting import HANG_S

BUCKET = "leases"
_names = (f"endpoint-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from botocore.config import Config

    with running(tmp_path_factory.mktemp("lease") / "state") as started:
        client = started.client("s3", config=Config(max_pool_connections=32))
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def endpoint() -> str:
    return next(_names)


def held(s3: Any, endpoint: str, execution: str, *, wait_s: float = 0, expires_s: float = 30, **more: Any) -> Any:
    return lease.held(s3, BUCKET, endpoint, owner="tests", execution=execution, wait_s=wait_s, expires_s=expires_s, **more)


def test_the_second_is_told_who_has_it_and_it_is_free_afterwards(s3: Any, endpoint: str) -> None:
    assert lease.read(s3, BUCKET, endpoint) is None
    with held(s3, endpoint, "first"):
        with pytest.raises(LeaseHeld, match=r"first \(tests\) has it until .*wait_s is 0"), held(s3, endpoint, "second"):
            pytest.fail("two owners")
        found = lease.read(s3, BUCKET, endpoint)
        assert found is not None and found[0].execution == "first" and found[1]
    found = lease.read(s3, BUCKET, endpoint)
    assert found is not None and not found[1]
    with held(s3, endpoint, "second") as taken:
        taken.confirm()


def test_of_many_at_once_one_is_in_at_a_time_and_all_get_their_turn(s3: Any, endpoint: str) -> None:
    inside, most, turns = 0, 0, []
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal inside, most
        with held(s3, endpoint, f"execution-{number}", wait_s=60):
            with lock:
                inside += 1
                most = max(most, inside)
            turns.append(number)
            time.sleep(0.02)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(work, range(8)))
    assert most == 1
    assert sorted(turns) == list(range(8))


def test_of_two_who_saw_it_free_the_slower_one_is_refused(s3: Any, endpoint: str) -> None:
    with held(s3, endpoint, "before"):
        pass
    stored = lease._LeaseObject(s3, BUCKET, endpoint)
    seen = stored.read()
    assert seen is not None and seen.record.released
    first, second = (seen.record.model_copy(update={"execution": name, "released": False}) for name in ("first", "second"))
    assert stored.write(first, seen.etag)
    assert stored.write(second, seen.etag) is None
    found = lease.read(s3, BUCKET, endpoint)
    assert found is not None and found[0] == first


def test_a_host_whose_clock_is_ahead_does_not_find_it_expired(s3: Any, endpoint: str) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(hours=1)

    with held(s3, endpoint, "first") as first:
        with mock.patch.object(lease, "datetime", Ahead), pytest.raises(LeaseHeld), held(s3, endpoint, "ahead"):
            pytest.fail("two owners")
        first.confirm()


def test_the_one_who_waits_is_told_for_whom(s3: Any, endpoint: str) -> None:
    told = threading.Event()
    with ExitStack() as first, ThreadPoolExecutor(1) as waiter:
        first.enter_context(held(s3, endpoint, "first"))

        def second() -> str:
            with held(s3, endpoint, "second", wait_s=60, on_wait=lambda _holder, _lives: told.set()):
                return "in"

        waiting = waiter.submit(second)
        assert told.wait(HANG_S)
        assert not waiting.done()
        first.close()
        assert waiting.result(30) == "in"


def test_a_dead_owners_lease_expires_and_a_living_ones_does_not(s3: Any, endpoint: str) -> None:
    stored = lease._LeaseObject(s3, BUCKET, endpoint)
    dead = lease.Lease(stored, "tests", "dead", 2)
    dead.take(0, lambda _holder, _lives: None)
    dead._done.set()  # no renewal any more: what is left of a process that was killed
    with held(s3, endpoint, "second", wait_s=60, expires_s=2) as second:
        time.sleep(3)
        second.confirm()
        with pytest.raises(LeaseHeld), held(s3, endpoint, "third"):
            pytest.fail("a living owner's lease expired")
    with pytest.raises(LeaseLost):
        dead.confirm()


def test_an_owner_that_was_replaced_is_stopped_and_leaves_the_new_one_alone(s3: Any, endpoint: str) -> None:
    # The same execution twice: the step, started again after it was killed. It does not wait.
    with held(s3, endpoint, "execution") as first, held(s3, endpoint, "execution") as again:
        with pytest.raises(LeaseLost, match=r"execution \(tests\) took the lease of .* over"):
            first.confirm()
        with pytest.raises(LeaseLost):
            first.check()
        again.confirm()
    found = lease.read(s3, BUCKET, endpoint)
    assert found is not None and found[0].released


def test_an_owner_that_stood_still_believes_in_its_lease_no_longer_than_others_do(s3: Any, endpoint: str) -> None:
    """A paused process: what it writes afterwards still runs from the time that it read before."""
    stored = lease._LeaseObject(s3, BUCKET, endpoint)
    read = stored.read

    def then_stand_still() -> Any:
        found = read()
        time.sleep(2.5)
        return found

    with mock.patch.object(stored, "read", then_stand_still):
        paused = lease.Lease(stored, "tests", "paused", 30)
        paused.take(0, lambda _holder, _lives: None)
    try:
        now, wall_clock = time.monotonic(), datetime.now(UTC)  # S3's clock, too: it is on this machine
        found = lease._LeaseObject(s3, BUCKET, endpoint).read()
        assert found is not None
        believes_s = paused._good_until - now
        written_s = (datetime.fromisoformat(found.record.expires_at) - wall_clock).total_seconds()
        assert believes_s <= written_s + 1  # this S3's dates are of up to a second before
    finally:
        paused.release()
