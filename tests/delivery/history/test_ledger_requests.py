"""What a ledger costs to read, however long it is; and a checkpoint that is not what it should be changes nothing else."""

from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from delivery.errors import LedgerBroken
from delivery.history import decisions, ledger, registry_decisions, serving_history
from delivery.history.ledger import Ledger
from delivery.registry.model_packages import ModelPackage
from tests.delivery.fake_s3 import FakeS3

CHECKPOINT = "releases/chat/checkpoint.json.gz"


def key(number: int) -> str:
    return f"releases/chat/{number:08d}.json"


@pytest.fixture(autouse=True)
def new_process() -> None:
    ledger._verified.clear()


def begun(s3: FakeS3) -> Ledger:
    """The ledger as a process sees it that has just begun."""
    ledger._verified.clear()
    return Ledger(s3.client, "release", "chat")


def written(events: int) -> FakeS3:
    """A ledger with so many events, and as many release files beside them."""
    s3 = FakeS3()
    for number in range(1, events + 1):
        Ledger(s3.client, "release", "chat").append("registered", by=f"e{number}", version=number)
        s3.objects[f"releases/chat/{number * 7919:064x}/release.json"] = b"{}"
        s3.objects[f"releases/chat/{'f' * 40}{number:024x}/release.json"] = b"{}"
    s3.requests.clear()
    return s3


def release(s3: FakeS3, version: int) -> None:
    """What the steps of one release ask of the ledger, each in a process of its own."""
    package = ModelPackage(f"arn:model-package/{version}", "release-chat", version, "PendingManualApproval", {})
    begun(s3).append_once("fetched", by="execution")
    begun(s3).append_once("registered", by="execution", version=version)
    evaluation = begun(s3)
    evaluation.events()
    evaluation.append_once("evaluated", by="execution", version=version, details={"verdict": "passed"})
    person = begun(s3)
    seen = person.events()
    decisions.decide(person, "approved", package, by="ana", comment="good", seen=seen)
    verification = begun(s3)
    registry_decisions.note_if_made_elsewhere(verification, package)
    decisions.refusals(verification.events(), version, "chat")
    promotion = begun(s3)
    for _ in range(5):
        serving_history.serving_lineage(promotion.events())
    promotion.append("promoted", by="execution", version=version)
    begun(s3).events()  # status


@pytest.mark.parametrize("events", [10, 100, 1000, 3000])
def test_a_release_costs_the_same_however_long_the_ledger_is(events: int) -> None:
    s3 = written(events)
    release(s3, events + 1)
    asked = Counter(verb for verb, _ in s3.requests)
    assert asked["list"] <= 20
    assert asked["get"] <= 7 * (ledger._CHECKPOINT_EVERY + 3), "of each process: the checkpoint, and what is behind it"
    assert asked["put"] <= 5 + 1
    assert len(begun(s3).events()) == len(begun(s3).audit()) == events + 5


def test_a_process_reads_no_event_twice() -> None:
    s3 = written(100)
    first = begun(s3)
    before = first.events()
    s3.requests.clear()
    assert Ledger(s3.client, "release", "chat").events() == before
    assert [verb for verb, _ in s3.requests] == ["list"]


def shorten(s3: FakeS3) -> None:
    """Behind: as it was many events ago."""
    events = json.loads(gzip.decompress(s3.objects[CHECKPOINT]))["events"]
    replace(s3, events[:3])


def lengthen(s3: FakeS3) -> None:
    """Ahead: with an event that the ledger never had, in a chain that holds."""
    other = FakeS3()
    other.objects = dict(s3.objects)
    begun(other).append("approved", by="eve", version=20)
    replace(s3, [other.objects[key(number)].decode() for number in range(1, 22)])


def forge(s3: FakeS3) -> None:
    """An event in the middle says something else."""
    events = json.loads(gzip.decompress(s3.objects[CHECKPOINT]))["events"]
    replace(s3, [events[0], events[1].replace('"e2"', '"eve"'), *events[2:]])


def forge_chain(s3: FakeS3) -> None:
    """All of it is another's, and a chain in itself."""
    other = FakeS3()
    for _ in range(16):
        begun(other).append("approved", by="eve", version=66)
    replace(s3, [other.objects[key(number)].decode() for number in range(1, 17)])


def forge_last(s3: FakeS3) -> None:
    """The last event says something else."""
    events = json.loads(gzip.decompress(s3.objects[CHECKPOINT]))["events"]
    replace(s3, [*events[:-1], events[-1].replace('"by": "e', '"by": "eve')])


def replace(s3: FakeS3, events: list[str]) -> None:
    s3.objects[CHECKPOINT] = gzip.compress(json.dumps({"schema_version": 1, "events": events}).encode())


def put(body: bytes) -> Callable[[FakeS3], None]:
    return lambda s3: s3.objects.__setitem__(CHECKPOINT, body)


@pytest.mark.parametrize(
    ("spoil", "warning"),
    [
        pytest.param(lambda s3: s3.objects.pop(CHECKPOINT), "", id="missing"),
        pytest.param(shorten, "", id="behind"),
        pytest.param(lengthen, "its last event, is not there", id="ahead"),
        pytest.param(forge, "one of the two was changed", id="an event changed"),
        pytest.param(forge_chain, "its last event, is another one", id="another chain"),
        pytest.param(forge_last, "its last event, is another one", id="last event changed"),
        pytest.param(put(b""), "is no checkpoint", id="empty"),
        pytest.param(put(b"{}"), "is no checkpoint", id="not zipped"),
        pytest.param(put(gzip.compress(b"[]")), "is no checkpoint", id="foreign"),
        pytest.param(put(gzip.compress(b'{"schema_version": 2, "events": []}')), "is no checkpoint", id="newer format"),
        pytest.param(put(gzip.compress(b"{" * 1000)[:-9]), "is no checkpoint", id="cut off"),
        pytest.param(put(gzip.compress(b'{"schema_version": 1, "events": ["\\ud800"]}')), "is no checkpoint", id="surrogate"),
    ],
)
def test_a_checkpoint_is_never_believed_and_written_anew(
    spoil: Callable[[FakeS3], None], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    s3 = written(20)
    true = begun(s3).audit()
    spoil(s3)
    with caplog.at_level(logging.WARNING):
        assert begun(s3).events() == true
    assert len(caplog.messages) == (1 if warning else 0)
    assert warning in "".join(caplog.messages)
    assert "the ledger is broken" not in caplog.text, "only the copy is"
    begun(s3).append("approved", by="ana", version=1)
    assert begun(s3).events()[:-1] == true
    s3.requests.clear()
    assert len(begun(s3).events()) == 21
    assert len(s3.requests) <= 2 + ledger._CHECKPOINT_EVERY, "the next one that was written is used"


def test_an_event_that_was_changed_changes_no_decision_and_the_audit_names_it() -> None:
    s3 = written(20)
    true = begun(s3).events()
    s3.objects[key(2)] = s3.objects[key(2)].replace(b'"e2"', b'"eve"')
    assert begun(s3).events() == true
    with pytest.raises(LedgerBroken, match=f"{key(3)}.*one of the two was changed"):
        begun(s3).audit()


@pytest.mark.parametrize("number", [16, 17, 20])
def test_an_event_that_was_taken_out_behind_the_checkpoint_is_named(number: int) -> None:
    s3 = written(21)
    del s3.objects[key(number)]
    with pytest.raises(LedgerBroken, match=f"{key(number)}: it is gone"):
        begun(s3).events()


def test_events_that_were_cut_off_are_not_remembered() -> None:
    s3 = written(20)
    open_ledger = begun(s3)
    open_ledger.events()
    for number in (19, 20):
        del s3.objects[key(number)]
    assert len(open_ledger.events()) == 18


def test_a_checkpoint_that_cannot_be_written_costs_no_event(caplog: pytest.LogCaptureFixture) -> None:
    s3 = FakeS3()

    def refuse(written_key: str) -> None:
        if written_key == CHECKPOINT:
            raise s3.error("AccessDenied")

    s3.before_write = refuse
    with caplog.at_level(logging.WARNING):
        for version in range(1, 21):
            begun(s3).append("registered", by="execution", version=version)
    assert [event.version for event in begun(s3).events()] == list(range(1, 21))
    assert "the ledger has no new checkpoint" in caplog.text


def test_a_checkpoint_whose_answer_got_lost_is_a_checkpoint() -> None:
    s3 = written(8)

    def lose(written_key: str) -> None:
        if written_key == CHECKPOINT:
            raise s3.error("RequestTimeout")

    s3.after_write = lose
    begun(s3).append("registered", by="execution", version=9)
    s3.requests.clear()
    assert len(begun(s3).events()) == 9
    assert [verb for verb, _ in s3.requests].count("get") == 3, "the checkpoint, the last of its events, and the one behind"


def test_of_two_writers_at_once_the_slower_ones_checkpoint_is_only_behind() -> None:
    s3 = written(16)
    old = s3.objects[CHECKPOINT]
    for version in range(17, 40):
        begun(s3).append("registered", by="execution", version=version)
    s3.objects[CHECKPOINT] = old  # the request of a writer that stood still
    assert [event.version for event in begun(s3).events()] == list(range(1, 40))


def test_events_have_no_clock_but_their_order() -> None:
    s3 = written(20)
    s3.now -= timedelta(hours=1)
    assert begun(s3).append("approved", by="ana", version=1).sequence == 21
    assert [event.sequence for event in begun(s3).events()] == list(range(1, 22))


def test_the_listing_goes_on_where_the_first_digits_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_BLOCK_DIGITS", 1)
    s3 = written(35)
    assert [event.sequence for event in begun(s3).events()] == list(range(1, 36))
    assert len(begun(s3).audit()) == 35
