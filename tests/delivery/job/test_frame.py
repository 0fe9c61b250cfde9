"""The frame of a job: exit codes, the message that SageMaker shows, and what is in the job's log."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pytest

from delivery.errors import DeliveryError, InputError
from delivery.job import frame

pytestmark = pytest.mark.usefixtures("own_process")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DeliveryError("the Hub gave up"), 1, "the Hub gave up"),
        (InputError("there is no model"), 2, "there is no model"),
        (RuntimeError("a bug"), 1, "RuntimeError: a bug"),
        (DeliveryError("x" * 2000), 1, "x" * 1024),
    ],
)
def test_how_it_ended_is_an_exit_code_and_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, code: int, message: str
) -> None:
    def step(_: Sequence[str]) -> None:
        raise error

    file = tmp_path / "output" / "message"
    assert frame.main(step, ["--message-file", str(file)]) == code
    assert file.read_text() == message
    shown = capsys.readouterr().err
    assert f"error: {message[:100]}" in shown
    assert ("Traceback" in shown) is isinstance(error, RuntimeError), "a bug keeps its traceback, an error is its message alone"


def test_a_full_disk_is_one_error_that_keeps_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def step(_: Sequence[str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "promotion.json")

    full = OSError(errno.ENOSPC, "No space left on device")
    with mock.patch.object(Path, "write_text", side_effect=full):
        assert frame.main(step, ["--message-file", str(tmp_path / "message")]) == 1
    shown = capsys.readouterr().err
    assert "error: there is no room on the disk: [Errno 28] No space left on device: 'promotion.json'; make room" in shown
    assert "Traceback" not in shown


def test_a_step_gets_its_own_arguments_and_zero_is_done(tmp_path: Path) -> None:
    got: list[str] = []
    assert frame.main(got.extend, ["--region", "r", "--message-file", str(tmp_path / "message"), "--dry-run"]) == 0
    assert got == ["--region", "r", "--dry-run"]
    assert not (tmp_path / "message").exists()


def test_sigterm_ends_it_and_what_must_be_cleaned_up_is(tmp_path: Path) -> None:
    done: list[str] = []

    def step(_: Sequence[str]) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:  # noqa: BLE001  (what a step may well have)
            done.append("swallowed")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # impatient: it breaks nothing off
            done.append("cleaned up")

    assert frame.main(step, ["--message-file", str(tmp_path / "message")]) == 143
    assert done == ["cleaned up"]
    assert (tmp_path / "message").read_text() == "terminated by SIGTERM"


def test_a_sigterm_during_clean_up_takes_effect_after_it() -> None:
    done: list[str] = []

    def step(_: Sequence[str]) -> None:
        with frame.uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("deleted")
        done.append("went on")

    assert frame.main(step, []) == 143
    assert done == ["deleted"]


def test_the_log_has_what_our_modules_say_and_of_libraries_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    def step(_: Sequence[str]) -> None:
        for name in ("steps.any", "delivery.any", "loadtest.any", "botocore.any"):
            logging.getLogger(name).info(f"info of {name}")
            logging.getLogger(name).debug(f"debug of {name}")
        frame.progress("3 of 4")
        logging.getLogger("botocore.any").warning("a warning")
        logging.getLogger("steps.any").error("100% wrong")

    assert frame.main(step, []) == 0
    assert frame.main(lambda _: logging.getLogger("steps.any").info("once"), []) == 0
    assert capsys.readouterr().out.splitlines() == [
        "info of steps.any",
        "info of delivery.any",
        "info of loadtest.any",
        "progress: 3 of 4",
        "a warning",
        "100% wrong",
        "once",
    ]


def test_what_is_no_release_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.json is not a release file"):
        frame.read_release(tmp_path / "absent.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"other\.json is not a release file: 4 validation errors"):
        frame.read_release(tmp_path / "other.json")
