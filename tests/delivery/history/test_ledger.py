"""The ledger: a chain whoever writes, that shows where it was broken."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from delivery.errors import LedgerBroken
from delivery.history.ledger import Event, Ledger, newest
from sagemaker_local.testing import RunningServer, running

BUCKET = "ledgers"
_names = (f"model-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("ledger") / "state") as started:
        started.client("s3").create_bucket(Bucket=BUCKET)
        yield started


@pytest.fixture(scope="module")
def s3(server: RunningServer) -> Any:
    from botocore.config import Config

    return server.client("s3", config=Config(max_pool_connections=32))


@pytest.fixture
def model() -> str:
    return next(_names)


def key(model: str, number: int) -> str:
    return f"releases/{model}/{number:08d}.json"


def test_events_come_back_in_order_each_with_the_hash_of_the_one_before(s3: Any, model: str) -> None:
    ledger = Ledger(s3, BUCKET, model)
    assert ledger.events() == []
    s3.put_object(Bucket=BUCKET, Key=f"releases/{model}/{'0' * 64}/release.json", Body=b"{}")  # the release files' folders
    first = ledger.append("evaluated", by="execution-1", version=1, details={"verdict": "passed"})
    second = ledger.append("approved", by="arn:aws:iam::123456789012:user/ana", version=1)
    assert ledger.events() == [first, second]
    assert (first.sequence, second.sequence) == (1, 2)
    assert first.previous_sha256 is None
    assert newest(ledger.events(), "evaluated", "registered") == first


def test_many_writers_at_once_make_one_chain_and_lose_nothing(s3: Any, model: str) -> None:
    def write(number: int) -> Event:
        return Ledger(s3, BUCKET, model).append("registered", by=f"execution-{number}", version=number)

    with ThreadPoolExecutor(12) as writers:
        written = list(writers.map(write, range(1, 17)))
    events = Ledger(s3, BUCKET, model).events()
    assert sorted(event.sequence for event in written) == list(range(1, 17))
    assert {event.by for event in events} == {f"execution-{number}" for number in range(1, 17)}


def test_a_step_that_runs_again_does_not_write_twice(s3: Any, model: str) -> None:
    ledger = Ledger(s3, BUCKET, model)
    first = ledger.append_once("promoted", by="execution-1", version=3)
    ledger.append("approved", by="somebody", version=4)
    assert ledger.append_once("promoted", by="execution-1", version=3) == first
    assert ledger.append_once("promoted", by="execution-2", version=3).sequence == 3


def test_an_event_that_was_changed_is_named(s3: Any, model: str) -> None:
    ledger = Ledger(s3, BUCKET, model)
    for version in (1, 2, 3):
        ledger.append("promoted", by="execution", version=version)
    event = json.loads(s3.get_object(Bucket=BUCKET, Key=key(model, 2))["Body"].read())
    s3.put_object(Bucket=BUCKET, Key=key(model, 2), Body=json.dumps({**event, "version": 7}).encode())
    with pytest.raises(LedgerBroken, match=f"{key(model, 3)}.*one of the two was changed"):
        ledger.events()


def test_an_event_that_was_taken_out_is_named(s3: Any, model: str) -> None:
    ledger = Ledger(s3, BUCKET, model)
    for version in (1, 2, 3):
        ledger.append("promoted", by="execution", version=version)
    s3.delete_object(Bucket=BUCKET, Key=key(model, 2))
    with pytest.raises(LedgerBroken, match=f"{key(model, 2)}: it is gone"):
        ledger.events()
