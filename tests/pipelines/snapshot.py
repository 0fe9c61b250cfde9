"""Outputs kept as files, so that a change to them is a change that a reviewer sees.

`UPDATE_SNAPSHOTS=1 python -m pytest tests/pipelines/test_snapshots.py` writes them anew.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = "UPDATE_SNAPSHOTS=1 python -m pytest tests/pipelines/test_snapshots.py"


def check(name: str, text: str) -> None:
    """Fail, with a diff, when `text` is not what the snapshot holds."""
    path = SNAPSHOTS / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    if kept != text:
        diff = difflib.unified_diff(kept.splitlines(), text.splitlines(), "kept", "now", lineterm="", n=2)
        raise AssertionError("\n".join([f"{path.name} is another now; if that is meant: {UPDATE}", *diff]))
