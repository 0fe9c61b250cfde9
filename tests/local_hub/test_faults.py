"""Faults on order: each is what a client would see on a bad day, as often as it was ordered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from huggingface_hub import get_hf_file_metadata, hf_hub_url

from local_hub import Fault, LocalHub
from local_hub.errors import LocalHubError
from tests.local_hub.test_hub import MODEL, WEIGHTS, make_repository
from tests.support.waiting import HANG_S

FILE = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    make_repository(tmp_path)
    with LocalHub(tmp_path, builtin=False) as started:
        yield started


def address(hub: LocalHub) -> str:
    return get_hf_file_metadata(hf_hub_url(MODEL, FILE, endpoint=hub.endpoint), token=False).location


def get(url: str, first: int | None = None, last: int | None = None) -> httpx.Response:
    headers = {} if first is None else {"Range": f"bytes={first}-{last}"}
    return httpx.get(url, headers=headers, timeout=HANG_S)


def test_status_with_retry_after_then_good_again(hub: LocalHub) -> None:
    url = address(hub)
    hub.faults.add(Fault("status", status=429, retry_after_s=3, times=2), Fault("status", status=500))
    answers = [get(url) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 429, 500, 200]
    assert answers[0].headers["retry-after"] == "3"
    assert answers[3].content == WEIGHTS


def test_expired_address(hub: LocalHub) -> None:
    url = address(hub)
    hub.faults.add(Fault("expired", after=1))
    assert [get(url, 0, 9).status_code for _ in range(3)] == [206, 403, 206]


def test_truncated_body(hub: LocalHub) -> None:
    hub.faults.add(Fault("truncate", at_byte=100))
    with pytest.raises(httpx.RemoteProtocolError):
        get(address(hub))


def test_corrupt_byte_is_at_its_place_in_the_file(hub: LocalHub) -> None:
    url = address(hub)
    hub.faults.add(Fault("corrupt", at_byte=5000, times=None))
    whole = get(url).content
    assert [place for place, pair in enumerate(zip(whole, WEIGHTS, strict=True)) if pair[0] != pair[1]] == [5000]
    assert get(url, 4000, 4999).content == WEIGHTS[4000:5000]
    assert get(url, 5000, 5999).content[0] == WEIGHTS[5000] ^ 1
    hub.faults.clear()
    assert get(url).content == WEIGHTS


def test_ignored_range_waits_for_a_ranged_request(hub: LocalHub) -> None:
    url = address(hub)
    hub.faults.add(Fault("ignore-range"))
    assert get(url).status_code == 200
    answer = get(url, 10, 19)
    assert (answer.status_code, len(answer.content)) == (200, len(WEIGHTS))
    assert get(url, 10, 19).status_code == 206


def test_changed_content_has_the_same_length(hub: LocalHub) -> None:
    url = address(hub)
    hub.faults.add(Fault("changed"))
    answer = get(url, 0, 999)
    assert len(answer.content) == 1000
    assert answer.content != WEIGHTS[:1000]


def test_reset_and_stall(hub: LocalHub) -> None:
    url = address(hub)
    hub.faults.add(Fault("reset"), Fault("stall", stall_s=0.2))
    with pytest.raises(httpx.TransportError):
        get(url)
    started = time.monotonic()
    assert get(url, 0, 9).status_code == 206
    assert time.monotonic() - started >= 0.2


def test_faults_fit_path_and_place(hub: LocalHub) -> None:
    hub.faults.add(Fault("status", path="acme/other/*"), Fault("status", path=MODEL, where="hub", status=503))
    assert get(address(hub), 0, 9).status_code == 206
    assert httpx.get(f"{hub.endpoint}/api/models/{MODEL}").status_code == 503
    assert httpx.get(f"{hub.endpoint}/api/models/{MODEL}").status_code == 200
    hub.faults.add(Fault("status", path=f"{MODEL}/config.json", where="any", status=500))
    assert httpx.get(f"{hub.endpoint}/{MODEL}/resolve/main/config.json").status_code == 500


def test_faults_over_http(hub: LocalHub) -> None:
    url = address(hub)
    control = f"{hub.endpoint}/_local_hub/faults"
    assert httpx.post(control, json={"kind": "status", "status": 502, "times": None}).status_code == 200
    assert get(url).status_code == 502
    assert httpx.delete(control).status_code == 200
    assert get(url).status_code == 200
    assert httpx.post(control, json={"kind": "status", "oops": 1}).status_code == 400
    with pytest.raises(LocalHubError, match="known are"):
        Fault("none")  # type: ignore[arg-type]


def test_a_file_replaced_on_disk_is_a_new_revision(hub: LocalHub, tmp_path: Path) -> None:
    before = hub.revision(MODEL)
    (tmp_path / MODEL / FILE).write_bytes(WEIGHTS[::-1])
    assert httpx.get(f"{hub.endpoint}/{MODEL}/resolve/{before}/{FILE}").status_code == 404
    assert hub.revision(MODEL) != before


def test_rate_cap_holds_for_all_transfers_together(hub: LocalHub) -> None:
    url = address(hub)
    hub.set_rate(4_000_000)
    started = time.monotonic()
    for _ in range(2):
        assert get(url).content == WEIGHTS
    seconds = time.monotonic() - started
    # 2.56 MB at 4 MB/s; the first piece of a transfer leaves at once.
    assert seconds > 0.4
