"""Where tables and colours are printed: rich's console, but a reader that has gone (`history | head -1`) is for `pipelines.run` to judge."""

from __future__ import annotations

from typing import NoReturn

import rich.console


class Console(rich.console.Console):
    """A console that raises BrokenPipeError as `print` does; rich's own exits with 1."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError
