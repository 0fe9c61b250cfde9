"""One line of a terminal, drawn again and again: for whoever runs a step by hand."""

from __future__ import annotations

import shutil
import sys
import threading

_TO_START_AND_ERASE = "\r\x1b[K"  # ECMA-48: carriage return, erase to the end of the line
_lock = threading.Lock()
_is_open = False


def redraw(text: str) -> None:
    """Show `text` in place of what was drawn last, cut to the terminal's width."""
    global _is_open
    with _lock:
        sys.stdout.write(_TO_START_AND_ERASE + text[: shutil.get_terminal_size().columns - 1])
        sys.stdout.flush()
        _is_open = True


def end_line() -> None:
    """Leave what was drawn last as it is: what is written next goes below it. Nothing when nothing is being drawn."""
    global _is_open
    with _lock:
        if _is_open:
            sys.stdout.write("\n")
            sys.stdout.flush()
        _is_open = False
