"""How much runs of one version differ, learnt from the ledger and the evaluations that it names."""

from __future__ import annotations

import io
import math
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from pydantic import TypeAdapter

from delivery.history.ledger import Event
from loadtest.measurement.comparison import USUAL_RUN_TO_RUN
from loadtest.profiles import LoadProfile
from steps.evaluate_staging import run_to_run
from steps.evaluate_staging.models import Evaluation
from tests.steps.evaluate_staging.evaluations import PROFILES, evaluation

METRIC = "ttft_p99_ms"
CHAT: LoadProfile = TypeAdapter(LoadProfile).validate_python(PROFILES["chat"])
ONE = evaluation(1)


class Stored:
    """A bucket with evaluations, and the ledger's events about them."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.events: list[Event] = []
        self.asked: list[str] = []

    def add(self, version: int, value: float, *, verdict: str = "passed", body: bytes | None = None, **changes: Any) -> None:
        chat = ONE.profiles["chat"]
        chat = chat.model_copy(update={"metrics": {**chat.metrics, METRIC: value}, **changes.pop("chat", {})})
        found = ONE.model_copy(update={"version": version, "profiles": {"chat": chat}, **changes})
        key = f"e/{len(self.events)}/evaluation.json"
        self.bodies[key] = body if body is not None else found.model_dump_json().encode()
        details: dict[str, Any] = {"verdict": verdict, "report": f"s3://b/{key}"}
        sequence = len(self.events) + 1
        self.events.append(
            Event(sequence=sequence, at="2026-12-01T00:00:00+00:00", kind="evaluated", by="e", version=version, details=details)
        )

    def get_object(self, Key: str, **_: Any) -> Any:
        self.asked.append(Key)
        return {"Body": io.BytesIO(self.bodies[Key])}

    def spread(self, profile: LoadProfile = CHAT) -> float:
        client: Any = SimpleNamespace(get_object=self.get_object)
        return run_to_run.read(self.events, {"chat": profile}, client)["chat"][METRIC]


def test_without_a_second_run_it_is_what_is_usual() -> None:
    stored = Stored()
    for version in range(5):
        stored.add(version, 100.0 * (version + 1))
    assert stored.spread() == USUAL_RUN_TO_RUN
    assert stored.asked == [], "nothing is read that nothing can be learnt from"


def test_runs_that_differ_by_a_planted_spread_are_found_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_to_run, "_READ_AT_MOST", 1000)
    source, stored = numpy.random.default_rng(2), Stored()
    for version in range(60):
        for _ in range(2):
            stored.add(version, 500 * (version + 1) * math.exp(0.08 * source.standard_normal()))
    assert stored.spread() == pytest.approx(0.08, rel=0.25), "versions themselves are far apart"


def test_runs_under_another_load_or_on_other_instances_or_that_decided_nothing_say_nothing() -> None:
    stored = Stored()
    stored.add(1, 100.0)
    stored.add(1, 900.0, chat={"load": {"kind": "another"}})
    stored.add(1, 900.0, environment={**ONE.environment, "instances": "1 ml.g6.48xlarge"})
    stored.add(1, 900.0, verdict="invalid")
    stored.add(1, 900.0, body=b"no evaluation")
    stored.add(1, math.inf)
    assert stored.spread() == USUAL_RUN_TO_RUN


def test_only_the_newest_are_read() -> None:
    stored = Stored()
    for number in range(50):
        stored.add(1, 100.0 if number < 30 else 100.0 * 1.5 ** (number % 2))
    assert stored.spread() > 0.1
    assert len(stored.asked) == 20


def test_a_load_without_a_relative_objective_needs_none() -> None:
    client: Any = None
    limit: LoadProfile = TypeAdapter(LoadProfile).validate_python(PROFILES["chat"] | {"objectives": {METRIC: {"at_most": 900}}})
    assert run_to_run.read([], {"chat": limit}, client) == {}


def test_an_evaluation_reads_back() -> None:
    """What the tests above store is what the step stores."""
    assert Evaluation.model_validate_json(ONE.model_dump_json()) == ONE
