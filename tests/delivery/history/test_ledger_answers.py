"""What S3 may answer to an event that is written, and what follows from it."""

from __future__ import annotations

import json

import pytest

from delivery.errors import DeliveryError, LedgerBroken
from delivery.history.ledger import Ledger
from tests.delivery.fake_s3 import FakeS3


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def ledger(s3: FakeS3) -> Ledger:
    return Ledger(s3.client, "release", "chat")


def test_an_answer_that_got_lost_writes_no_event_twice(s3: FakeS3, ledger: Ledger) -> None:
    """boto3 sends the request again, and S3 refuses it: the event is there."""

    def lost(_: str) -> None:
        s3.after_write = lambda _: None
        raise s3.error("PreconditionFailed")

    s3.after_write = lost
    event = ledger.append("approved", by="ana", version=1)
    assert ledger.events() == [event]
    assert event.sequence == 1


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "PreconditionFailed", "412"])
def test_who_is_overtaken_gets_the_next_number(s3: FakeS3, ledger: Ledger, code: str) -> None:
    def overtake(_: str) -> None:
        s3.before_write = lambda _: None
        Ledger(s3.client, "release", "chat").append("approved", by="ben", version=1)
        raise s3.error(code)

    s3.before_write = overtake
    event = ledger.append("approved", by="ana", version=1)
    assert [one.by for one in ledger.events()] == ["ben", "ana"]
    assert event.sequence == 2


def test_who_is_always_overtaken_gives_up(s3: FakeS3, ledger: Ledger) -> None:
    tries: list[str] = []

    def refuse(key: str) -> None:
        tries.append(key)
        raise s3.error("PreconditionFailed")

    s3.before_write = refuse
    with pytest.raises(
        DeliveryError, match=r"could not write to the ledger s3://release/releases/chat/: others were faster 50 times"
    ):
        ledger.append("approved", by="ana", version=1)
    assert len(tries) == 50


def test_once_is_once_an_execution_a_kind_and_a_version(ledger: Ledger) -> None:
    first = ledger.append_once("evaluated", by="e1", version=1, details={"verdict": "passed"})
    assert ledger.append_once("evaluated", by="e1", version=1, details={"verdict": "failed"}) == first
    assert ledger.append_once("evaluated", by="e2", version=1).sequence == 2
    assert ledger.append_once("evaluated", by="e1", version=2).sequence == 3
    assert ledger.append_once("registered", by="e1", version=1).sequence == 4
    assert ledger.append_once("evaluated", by="e1", version=1) == first


def test_an_event_is_these_bytes(s3: FakeS3, ledger: Ledger) -> None:
    event = ledger.append("approved", by="ana", version=3, model_package="arn", details={"comment": "good"})
    assert json.loads(s3.objects["releases/chat/00000001.json"]) == {
        "schema_version": 1,
        "sequence": 1,
        "at": event.at,
        "kind": "approved",
        "version": 3,
        "model_package": "arn",
        "by": "ana",
        "details": {"comment": "good"},
        "previous_sha256": None,
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "it is not an event"),
        (b'{"sequence": 1, "at": "", "kind": "approved", "by": "ana"}', "it says that it is event 1"),
    ],
)
def test_what_is_no_event_is_named(s3: FakeS3, ledger: Ledger, body: bytes, says: str) -> None:
    ledger.append("approved", by="ana", version=1)
    s3.objects["releases/chat/00000002.json"] = body
    with pytest.raises(LedgerBroken) as caught:
        ledger.events()
    assert str(caught.value).startswith(f"the ledger is broken at s3://release/releases/chat/00000002.json: {says}")
    assert "LedgerStays" in str(caught.value), "and what to do"
