"""Tables for a reader that has gone."""

from __future__ import annotations

import io

import pytest

from pipelines import console
from pipelines.commands.views import history
from pipelines.executions import display
from pipelines.status import status_text


class Gone(io.StringIO):
    """A pipe whose reader has gone."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_reader_that_has_gone_is_not_the_end_of_the_process() -> None:
    """rich exits with 1 there, and `history | head -1` failed under `set -o pipefail`."""
    with pytest.raises(BrokenPipeError):
        console.Console(file=Gone()).print("a table")


@pytest.mark.parametrize("module", [history, display, status_text])
def test_all_tables_are_printed_there(module: object) -> None:
    assert vars(module)["Console"] is console.Console
