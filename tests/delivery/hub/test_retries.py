"""Transient failures are tried again, with growing pauses and jitter; those that stay are one clear error."""

from __future__ import annotations

import threading
import time
from unittest import mock

import pytest

from delivery.errors import DeliveryError, TransientError
from delivery.hub.fetch_settings import FetchSettings
from delivery.hub.hub_repository import PREFLIGHT
from delivery.hub.range_client import RangeResponse
from delivery.hub.retries import Retries, Stopped
from tests.delivery.hub.test_range_client import USED_UP

QUICK = FetchSettings(attempts=3, first_pause_s=0.01, longest_pause_s=0.02)


def test_a_quota_that_is_used_up_is_waited_for_as_long_as_the_hub_says(caplog: pytest.LogCaptureFixture) -> None:
    responses = [RangeResponse(429, USED_UP), RangeResponse(200, {})]

    def attempt() -> float:
        if error := responses.pop(0).transient_error("https://hub/file"):
            raise error
        return time.monotonic()

    started = time.monotonic()
    with caplog.at_level("INFO"):
        assert Retries(FetchSettings(), threading.Event()).call("read", attempt) - started >= 2
    assert caplog.messages == ["could not read: https://hub/file answered 429; trying again in 2.0 s (1 of 12)"]


def test_a_whole_window_of_the_hubs_is_waited_for_by_a_job_and_not_by_a_person() -> None:
    error = RangeResponse(429, {"ratelimit": '"api";r=0;t=300'}).transient_error("https://hub/api")
    assert error is not None
    assert Retries(FetchSettings(), threading.Event())._pause(1, error, "list") == 301
    with pytest.raises(DeliveryError, match="asks to wait 301 s"):
        Retries(PREFLIGHT, threading.Event())._pause(1, error, "list")


def test_pauses_double_up_to_the_longest_with_a_jitter_of_half() -> None:
    retries, error = Retries(FetchSettings(), threading.Event()), TransientError("busy")
    with mock.patch("random.uniform", side_effect=lambda low, high: low):
        shortest = [retries._pause(number, error, "read") for number in range(1, 9)]
    with mock.patch("random.uniform", side_effect=lambda low, high: high):
        longest = [retries._pause(number, error, "read") for number in range(1, 9)]
    assert shortest == [0.25, 0.5, 1, 2, 4, 8, 15, 15]
    assert longest == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_an_outage_of_a_minute_and_a_half_ends_no_fetch() -> None:
    settings = FetchSettings()
    error = RangeResponse(503, {}).transient_error("https://cdn/file")
    assert error is not None
    retries = Retries(settings, threading.Event())
    with mock.patch("random.uniform", return_value=0.5):  # the shortest pauses that there are
        assert sum(retries._pause(number, error, "read") for number in range(1, settings.attempts)) > 90


def test_what_stays_is_one_error_after_that_many_tries() -> None:
    tries: list[int] = []

    def attempt() -> None:
        tries.append(1)
        raise TransientError("the CDN answered 503")

    with pytest.raises(DeliveryError) as caught:
        Retries(QUICK, threading.Event()).call("read it", attempt)
    assert len(tries) == 3
    assert str(caught.value) == (
        "could not read it in 3 tries: the CDN answered 503; start the step again: what is finished is not fetched again"
    )
    assert not isinstance(caught.value, TransientError), "nobody tries again what was tried often enough"


def test_a_fetch_that_stops_leaves_its_pause_at_once() -> None:
    stop = threading.Event()

    def attempt() -> None:
        stop.set()
        raise TransientError("busy")

    began = time.monotonic()
    with pytest.raises(Stopped):
        Retries(FetchSettings(first_pause_s=60, longest_pause_s=60), stop).call("read", attempt)
    assert time.monotonic() - began < 10
