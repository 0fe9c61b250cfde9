"""Make sure that `config` and the other rooms are this project's: their names are common, and Python takes the first that it finds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_ROOMS = ("config", "delivery", "loadtest", "steps")
_CLONE = Path(__file__).parents[1]


def check() -> None:
    """End the process with exit code 2 and one line if a room is somebody else's module of that name."""
    for room in _ROOMS:
        found = importlib.util.find_spec(room)
        place = Path(found.origin).resolve() if found is not None and found.origin else None
        if place != (_CLONE / room / "__init__.py").resolve():
            _refuse(
                f"`import {room}` finds {place or 'nothing'} and not this project's {_CLONE / room}; rename that, or start in {_CLONE}"
            )
    import config  # here: known by now to be at our place, but another package may have been installed over it

    if not hasattr(config, "PROJECT"):
        _refuse(f"another package was installed over {_CLONE / 'config'}; run the line from a clone: make install")


def _refuse(reason: str) -> None:
    sys.stderr.write(f"error: {reason}\n")
    raise SystemExit(2)
