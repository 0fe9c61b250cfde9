"""The maps at the top of `steps` and `pipelines` name each module, and nothing that is gone."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("room", ["steps", "pipelines"])
def test_the_map_of_a_room_names_its_modules(room: str) -> None:
    documented = re.findall(r"`([a-z_0-9]+)`", importlib.import_module(room).__doc__ or "")
    modules = {path.stem for path in (ROOT / room).glob("*.py")} | {path.parent.name for path in (ROOT / room).glob("*/step.py")}
    assert set(documented) == modules - {"__init__"}
