"""What a server says on when to come again."""

from __future__ import annotations

import threading
import time
from unittest import mock

import pytest

from delivery.errors import DeliveryError
from delivery.hub.fetch_settings import FetchSettings
from delivery.hub.hub_repository import PREFLIGHT
from delivery.hub.range_client import RangeResponse
from delivery.hub.retries import Retries

USED_UP = {"ratelimit": '"resolvers";r=0;t=1', "ratelimit-policy": '"fixed window";"resolvers";q=3000;w=300'}


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (429, USED_UP, 2.0),
        (429, {"ratelimit": '"api";r=12;t=280'}, None),  # something else was too much
        (429, {**USED_UP, "ratelimit": '"api";r=12;t=280', "retry-after": "7"}, 7.0),
        (503, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": "Wed, 25 Nov 2026 07:28:00 GMT"}, None),
        (503, {}, None),
    ],
)
def test_when_to_come_again(status: int, headers: dict[str, str], wait_s: float | None) -> None:
    answer = RangeResponse(status, headers)
    assert answer.retry_after_s == wait_s
    error = answer.transient_error("https://hub/file")
    assert error is not None and error.retry_after_s == wait_s


def test_a_quota_that_is_used_up_is_waited_for_as_long_as_the_hub_says() -> None:
    answers = [RangeResponse(429, USED_UP), RangeResponse(200, {})]
    told: list[str] = []

    def attempt() -> float:
        if error := answers.pop(0).transient_error("https://hub/file"):
            raise error
        return time.monotonic()

    started = time.monotonic()
    assert Retries(FetchSettings(), threading.Event(), told.append).call("read", attempt) - started >= 2
    assert "trying again in 2.0 s" in told[0]


def test_a_whole_window_of_the_hubs_is_waited_for_by_a_job_and_not_by_a_person() -> None:
    error = RangeResponse(429, {"ratelimit": '"api";r=0;t=300'}).transient_error("https://hub/api")
    assert error is not None
    assert Retries(FetchSettings(), threading.Event())._pause(1, error, "list") == 301
    with pytest.raises(DeliveryError, match="asks to wait 301 s"):
        Retries(PREFLIGHT, threading.Event())._pause(1, error, "list")


def test_an_outage_of_a_minute_and_a_half_ends_no_fetch() -> None:
    settings = FetchSettings()
    error = RangeResponse(503, {}).transient_error("https://cdn/file")
    assert error is not None
    retries = Retries(settings, threading.Event())
    with mock.patch("random.uniform", return_value=0.5):  # the shortest pauses that there are
        assert sum(retries._pause(number, error, "read") for number in range(1, settings.attempts)) > 90
