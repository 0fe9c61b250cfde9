"""The Hub's token and the addresses that stand for it: where they go, and where they never show."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from config.schema import Release
from delivery.errors import DeliveryError
from delivery.hub.fetch_settings import MIB, FetchSettings
from delivery.hub.hub_source import HubRevision
from local_hub.faults import Fault
from local_hub.hub import LocalHub
from steps.fetch_weights import step
from steps.fetch_weights.models import FetchArguments
from tests.support.waiting import wait_until
from tests.support.worlds import fetching

TOKEN = "hf_very_secret"
FILES = fetching.model_files([6 * MIB, 2 * MIB])
QUICK = FetchSettings(part_bytes=5 * MIB, attempts=2, first_pause_s=0.01)
_SIGNATURE = re.compile(r"signature=[0-9a-f]", re.IGNORECASE)


@pytest.fixture
def make_gated(root: Path, make_secret: Callable[[str, str], None]) -> Callable[..., tuple[LocalHub, Release]]:
    """A Hub, not started yet, that opens acme/gated to TOKEN only, and a release that finds the token in Secrets Manager."""

    def make(rate_bytes_per_s: float | None = None) -> tuple[LocalHub, Release]:
        fetching.write_repository(root, "acme/gated", FILES)
        make_secret("hub-token", TOKEN)
        hub = LocalHub(root=root, builtin=False, gated=["acme/gated"], tokens=[TOKEN], rate_bytes_per_s=rate_bytes_per_s)
        environment = {"hub_token_secret": "hub-token"}
        return hub, fetching.release("acme/gated", hub.revision("acme/gated"), environment=environment)

    return make


Gated = Callable[..., tuple[LocalHub, Release]]


def assert_public(text: str) -> None:
    """Neither the token nor a signed address."""
    assert TOKEN not in text
    assert not _SIGNATURE.search(text)


def everything_in_s3(endpoint: str) -> str:
    s3 = fetching.client(endpoint)
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=fetching.BUCKET)["Contents"] if item["Key"].endswith(".json")]
    return "".join(s3.get_object(Bucket=fetching.BUCKET, Key=key)["Body"].read().decode("latin-1") for key in keys)


def test_the_token_goes_to_the_hub_and_to_nobody_else(
    aws: str, make_gated: Gated, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    hub, given = make_gated()
    with hub:
        hub.faults.add(Fault("expired"))
        with caplog.at_level("INFO"):
            step.run(FetchArguments(given, hub.endpoint, "exec-1", tmp_path / "output"), QUICK)
        assert all(r.had_token == (r.where == "hub") for r in hub.requests)
        assert {r.where for r in hub.requests} == {"hub", "cdn"}
    out, err = capfd.readouterr()
    assert "asking for another" in caplog.text
    assert_public(out + err + caplog.text + everything_in_s3(aws) + (tmp_path / "output" / "weights.json").read_text())


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", where="hub", status=500, times=None),
        Fault("status", where="hub", status=403, times=None),
        Fault("status", where="cdn", status=500, times=None),
        Fault("expired", times=None),
        Fault("truncate", at_byte=100, times=None),
        Fault("ignore-range", times=None),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.where}-{fault.status}",
)
@pytest.mark.usefixtures("aws")
def test_an_error_holds_no_secret(
    make_gated: Gated, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    hub, given = make_gated()
    with hub:
        hub.faults.add(fault)
        with caplog.at_level("INFO"), pytest.raises(DeliveryError) as caught:
            step.run(FetchArguments(given, hub.endpoint, "exec-1", tmp_path / "output"), QUICK)
    out, err = capfd.readouterr()
    assert_public("".join(traceback.format_exception(caught.value)) + out + err + caplog.text)


def test_a_process_shows_no_secret(aws: str, make_gated: Gated, tmp_path: Path) -> None:
    """Neither its arguments nor its environment, where `ps` and whoever reads /proc look, nor its log, nor its files."""
    hub, given = make_gated(5e6)
    with hub:
        running = fetching.Step(given, hub.endpoint, aws, tmp_path / "job", forked=False)
        wait_until(lambda: any(r.where == "cdn" for r in hub.requests), "it fetches")
        process = Path(f"/proc/{running.process.pid}")
        shown = (process / "cmdline").read_text() + (process / "environ").read_text()
        hub.set_rate(None)
        code, log = running.finish()
    assert code == 0, log
    files = "".join(path.read_text() for path in (tmp_path / "job").rglob("*") if path.is_file())
    assert "steps.fetch_weights" in shown
    assert_public(shown + log + files)


def test_a_hub_is_shown_without_its_token() -> None:
    hub = HubRevision("https://hub", "acme/gated", "0" * 40, TOKEN)
    assert TOKEN not in f"{hub} {hub!r} {hub.refusal()}"
