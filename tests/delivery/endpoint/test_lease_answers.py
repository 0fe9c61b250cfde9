"""What S3 may answer to a conditional write of the lease, and what follows from it."""

from __future__ import annotations

from datetime import timedelta

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
    made.take(wait_s, lambda _: None)
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
