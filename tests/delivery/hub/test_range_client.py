"""What a server says on when to come again, and what of a response shows."""

from __future__ import annotations

import pytest

from delivery.hub.range_client import RangeResponse, public

USED_UP = {"ratelimit": '"resolvers";r=0;t=1', "ratelimit-policy": '"fixed window";"resolvers";q=3000;w=300'}


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (429, USED_UP, 2.0),
        (429, {"ratelimit": '"api";r=12;t=280'}, None),  # something else was too much
        (429, {**USED_UP, "ratelimit": '"api";r=12;t=280', "retry-after": "7"}, 7.0),
        (503, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": "-7"}, 0.0),
        (503, {"retry-after": "Wed, 25 Nov 2026 07:28:00 GMT"}, None),
        (503, USED_UP, None),
        (503, {}, None),
    ],
)
def test_when_to_come_again(status: int, headers: dict[str, str], wait_s: float | None) -> None:
    response = RangeResponse(status, headers)
    assert response.retry_after_s == wait_s
    error = response.transient_error("https://hub/file")
    assert error is not None and error.retry_after_s == wait_s


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_these_may_pass(status: int) -> None:
    error = RangeResponse(status, {}, "slow down").transient_error("https://cdn/file?Signature=secret")
    assert str(error) == f"https://cdn/file answered {status} slow down"


@pytest.mark.parametrize("status", [200, 206, 302, 400, 401, 403, 404, 409, 410, 501])
def test_these_do_not_pass_by_themselves(status: int) -> None:
    assert RangeResponse(status, {}).transient_error("https://cdn/file") is None


def test_a_signature_is_in_no_log() -> None:
    assert public("https://cdn/file?Signature=secret&Expires=7?") == "https://cdn/file"
