"""`make demo` when it is interrupted: what it says, and that nothing goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from pipelines.commands.releases import release as release_command
from pipelines.commands.setup import demo
from pipelines.errors import Interrupted
from pipelines.setup.local import stack


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """One entry for each time that all was stopped."""
    calls: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["demo", "smollm2-135m"])
    monkeypatch.setattr(stack, "down", lambda: calls.append(True))
    yield calls
    signal.signal(signal.SIGTERM, before)


def _terminated(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupted(*_: object, **__: object) -> None:
    raise Interrupted("the execution goes on")


@pytest.mark.parametrize("release", [_terminated, _interrupted])
def test_what_was_started_is_stopped_and_said_so(
    release: Callable[..., None], stopped: list[bool], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KEEP", raising=False)
    monkeypatch.setattr(release_command, "release", release)
    assert demo.main() == 130
    assert stopped == [True]
    said = capsys.readouterr()
    assert "the release ends here" in said.err
    assert "goes on" not in said.err
    assert "All of it is stopped again" in said.out


def test_what_is_kept_goes_on(stopped: list[bool], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KEEP", "1")
    monkeypatch.setattr(release_command, "release", _interrupted)
    assert demo.main() == 130
    assert stopped == []
    assert "the execution goes on" in capsys.readouterr().err
