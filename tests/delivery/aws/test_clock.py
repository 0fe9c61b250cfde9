"""A service's clock, by the `Date` of its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from delivery.aws.clock import ServiceClock


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """This process's clock: the last number."""
    seconds = [1000.0]
    monkeypatch.setattr("delivery.aws.clock.time.monotonic", lambda: seconds[-1])
    return seconds


def answer(date: Any) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}


def test_time_goes_on_between_two_answers(monotonic: list[float]) -> None:
    made = ServiceClock()
    made.note(answer("Sun, 01 Mar 2026 12:00:00 GMT"), asked_at=999.0)
    assert made.at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert made.now() == datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)
    monotonic.append(1060.0)
    assert made.now() == datetime(2026, 3, 1, 12, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "told",
    [{}, {"ResponseMetadata": {}}, answer(""), answer("yesterday"), answer("Sun, 01 Mar 2026"), answer("99 99 99 99:99:99")],
)
def test_an_answer_without_a_date_changes_nothing(monotonic: list[float], told: dict[str, Any]) -> None:
    made = ServiceClock()
    made.note(answer("Sun, 01 Mar 2026 12:00:00 GMT"), asked_at=1000.0)
    monotonic.append(1030.0)
    made.note(told, asked_at=1030.0)
    assert made.now() == datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


def test_it_is_this_hosts_until_the_service_answers() -> None:
    assert abs(ServiceClock().now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_date_without_a_zone_is_utc() -> None:
    made = ServiceClock()
    made.note(answer("Sun, 01 Mar 2026 12:00:00 -0000"), asked_at=0.0)
    assert made.at == datetime(2026, 3, 1, 12, tzinfo=UTC)
