"""What S3 may answer to a conditional write of the lease, and what follows from it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from delivery.endpoint import lease
from delivery.endpoint.lease import Lease, LeaseRecord
from delivery.errors import DeliveryError, LeaseHeld, LeaseLost
from tests.delivery.fake_s3 import FakeS3

KEY = "leases/chat.json"


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


def of(s3: FakeS3, execution: str, expires_s: float = 600) -> Lease:
    """Make a lease that is renewed by nobody but the test."""
    return Lease(lease._LeaseObject(s3.client, "release", "chat"), f"host of {execution}", execution, expires_s)


def taken(s3: FakeS3, execution: str, expires_s: float = 600, wait_s: float = 0) -> Lease:
    made = of(s3, execution, expires_s)
    made.take(wait_s, lambda _holder, _lives: None)
    made._done.set()  # no renewals
    return made


def stored(s3: FakeS3) -> LeaseRecord:
    return LeaseRecord.model_validate_json(s3.objects[KEY])


def once(s3: FakeS3, code: str) -> list[str]:
    """Have S3 answer the next write with this error, and do nothing."""
    left = [code]

    def refuse(_: str) -> None:
        if left:
            raise s3.error(left.pop())

    s3.before_write = refuse
    return left


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "PreconditionFailed", "412"])
def test_a_write_that_met_another_one_is_tried_again_and_nobody_fails(s3: FakeS3, code: str) -> None:
    """409: a conflicting write was in progress, and may come to nothing (API reference of PutObject)."""
    left = once(s3, code)
    taken(s3, "first").check()
    assert left == []
    assert stored(s3).execution == "first"


def test_a_lease_that_went_away_between_two_looks_is_taken_anew(s3: FakeS3) -> None:
    first = taken(s3, "first")
    first.release()

    def delete(_: str) -> None:
        s3.before_write = lambda _: None
        del s3.objects[KEY]

    s3.before_write = delete
    taken(s3, "second").check()
    assert stored(s3).execution == "second"


def test_any_other_refusal_is_an_error(s3: FakeS3) -> None:
    once(s3, "AccessDenied")
    with pytest.raises(DeliveryError, match=r"could not write the lease s3://release/leases/chat\.json.*AccessDenied"):
        taken(s3, "first")
    assert s3.objects == {}


def test_a_lease_that_may_not_be_read_is_an_error(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**_: object) -> None:
        raise s3.error("AccessDenied", "GetObject")

    monkeypatch.setattr(s3, "get_object", denied)
    with pytest.raises(DeliveryError, match=r"could not read the lease s3://release/leases/chat\.json.*AccessDenied"):
        taken(s3, "first")
    assert s3.objects == {}


def lose_the_answer(s3: FakeS3) -> None:
    """Have S3 do the next write and lose its answer: boto3 sends it again, and the condition does not hold any more."""

    def lost(_: str) -> None:
        s3.after_write = lambda _: None
        raise s3.error("PreconditionFailed")

    s3.after_write = lost


def test_an_answer_that_got_lost_while_it_was_taken_is_no_other_owner(s3: FakeS3) -> None:
    lose_the_answer(s3)
    made = taken(s3, "first")
    assert s3.writes == [KEY], "it is ours at once, by a single write"
    made.confirm()


def test_an_answer_that_got_lost_while_it_was_renewed_loses_no_lease(s3: FakeS3) -> None:
    made = taken(s3, "first")
    s3.now += timedelta(seconds=60)
    lose_the_answer(s3)
    made.confirm()
    made.check()
    assert stored(s3).expires_at == "2026-01-01T00:11:00.000+00:00"
    made.confirm()


def test_an_answer_that_got_lost_while_it_was_given_back_leaves_it_free(s3: FakeS3) -> None:
    made = taken(s3, "first")
    lose_the_answer(s3)
    made.release()
    assert stored(s3).released


def test_who_was_overtaken_between_look_and_write_has_lost_it(s3: FakeS3) -> None:
    made = taken(s3, "first")
    other = stored(s3).model_copy(update={"execution": "second", "token": "another"})

    def overtake(_: str) -> None:
        s3.before_write = lambda _: None
        s3.objects[KEY] = other.model_dump_json().encode()

    s3.before_write = overtake
    with pytest.raises(LeaseLost, match="somebody took the lease of chat over just now; nothing more is done here"):
        made.confirm()
    assert stored(s3).execution == "second"


def test_a_lease_that_somebody_deleted_is_lost(s3: FakeS3) -> None:
    made = taken(s3, "first")
    del s3.objects[KEY]
    with pytest.raises(LeaseLost, match="somebody, who deleted it, took the lease of chat over"):
        made.confirm()


def test_what_is_written_is_this(s3: FakeS3) -> None:
    made = taken(s3, "first", expires_s=90)
    found = stored(s3)
    assert found == LeaseRecord(
        owner="host of first",
        execution="first",
        token=made._token,
        taken_at="2026-01-01T00:00:00+00:00",
        expires_at="2026-01-01T00:01:30.000+00:00",
    )
    assert len(found.token) == 32


def test_it_is_held_until_it_expires_by_s3s_clock_and_not_a_moment_longer(s3: FakeS3) -> None:
    taken(s3, "first", expires_s=90)
    s3.now += timedelta(seconds=89)
    with pytest.raises(
        LeaseHeld, match=r"another promotion works on chat: first \(host of first\) has it until 2026-01-01T00:01:30"
    ):
        taken(s3, "second")
    s3.now += timedelta(seconds=1)
    taken(s3, "second").check()
    assert stored(s3).execution == "second"


def test_each_take_has_a_token_of_its_own(s3: FakeS3) -> None:
    first = taken(s3, "one")
    again = taken(s3, "one")
    assert first._token != again._token
    with pytest.raises(LeaseLost, match=r"one \(host of one\) took the lease of chat over"):
        first.confirm()
    again.confirm()


def test_what_is_no_lease_is_named(s3: FakeS3) -> None:
    s3.objects[KEY] = b"{}"
    with pytest.raises(DeliveryError, match=r"s3://release/leases/chat\.json is not a lease"):
        lease.read(s3.client, "release", "chat")


def test_whoever_asks_sees_whether_it_is_held(s3: FakeS3) -> None:
    assert lease.read(s3.client, "release", "chat") is None
    made = taken(s3, "first", expires_s=90)
    assert lease.read(s3.client, "release", "chat") == (stored(s3), True)
    s3.now += timedelta(seconds=90)
    assert lease.read(s3.client, "release", "chat") == (stored(s3), False)
    made.release()
    s3.now -= timedelta(seconds=60)
    assert lease.read(s3.client, "release", "chat") == (stored(s3), False)


def test_who_waits_is_told_for_whom_and_polls_with_jitter_and_backoff(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    taken(s3, "first", expires_s=20)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        s3.now += timedelta(seconds=seconds)

    monkeypatch.setattr("delivery.endpoint.lease.time.sleep", sleep)
    monkeypatch.setattr("random.uniform", lambda low, high: (low, high) == (0.5, 1.5))
    told: list[str] = []
    second = of(s3, "second")
    second.take(3600, lambda holder, _lives: told.append(str(holder)))
    second._done.set()
    assert pauses == pytest.approx([0.5, 0.75, 1.125, 1.6875, 2.53125, 3.796875, 5, 5])
    assert told == ["first (host of first) has it until 2026-01-01T00:00:20.000+00:00 or longer"] * 8


def test_nobody_waits_longer_than_was_said(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    taken(s3, "first")
    clock = [100.0]
    monkeypatch.setattr("delivery.endpoint.lease.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("delivery.endpoint.lease.time.sleep", lambda seconds: clock.append(clock.pop() + seconds))
    with pytest.raises(LeaseHeld, match=r"production\.lease\.wait_s is 7: start again when it is over"):
        of(s3, "second").take(7, lambda _holder, _lives: None)
    assert clock == pytest.approx([107.0])


@pytest.mark.parametrize(("passed_s", "good"), [(88.9, True), (89.1, False)])
def test_it_is_believed_in_a_second_less_than_others_do(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch, passed_s: float, good: bool
) -> None:
    """HTTP's dates are whole seconds: another host may see it expire so much earlier."""
    clock = [100.0]
    monkeypatch.setattr("delivery.endpoint.lease.time.monotonic", lambda: clock[0])
    made = taken(s3, "first", expires_s=90)
    clock[0] += passed_s
    if good:
        made.check()
        return
    with pytest.raises(LeaseLost, match="the lease of chat could not be renewed in time; nothing more is done here"):
        made.check()
    with pytest.raises(LeaseLost, match="could not be renewed in time"):
        made.confirm()
    assert len(s3.writes) == 1, "it is not renewed any more, either"


def test_one_that_was_lost_is_not_given_back(s3: FakeS3) -> None:
    made = taken(s3, "first")
    s3.objects[KEY] = stored(s3).model_copy(update={"execution": "second", "token": "another"}).model_dump_json().encode()
    with pytest.raises(LeaseLost):
        made.confirm()
    made.release()
    assert not stored(s3).released


class _SeenEnough(Exception):
    """Ends a wait."""


def test_one_who_waits_is_told_whether_the_holder_was_seen_to_live(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder lives that renewed its lease since the first look at it; of one that came after it that is not known yet."""
    taken(s3, "first")
    first = stored(s3)
    another = first.model_copy(update={"execution": "another", "token": "t2"})

    def renewed(record: LeaseRecord) -> LeaseRecord:
        later = datetime.fromisoformat(record.expires_at) + timedelta(seconds=60)
        return record.model_copy(update={"expires_at": later.isoformat()})

    looks = iter([first, renewed(first), renewed(first), another, another, renewed(another)])
    seen = list[tuple[str, bool]]()

    def look_again(_: float) -> None:
        record = next(looks, None)
        if record is None:
            raise _SeenEnough
        s3.objects[KEY] = record.model_dump_json().encode()

    monkeypatch.setattr("time.sleep", look_again)
    with pytest.raises(_SeenEnough):
        of(s3, "second").take(3600, lambda holder, lives: seen.append((holder.execution, lives)))
    assert seen == [
        ("first", False), ("first", False), ("first", True), ("first", True), ("another", False), ("another", False), ("another", True)
    ]  # fmt: skip
