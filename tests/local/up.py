"""`python -m tests.local.up`: `pipelines.run local up`, but its steps do not find great_expectations, whose import takes 4 s an evaluation."""

from __future__ import annotations

from typing import Any
from unittest import mock

from pipelines.setup.local import image_map, stack
from tests.support.forked import ROOT


def without_the_suite() -> dict[str, Any]:
    """The local image map, with a module before great_expectations that cannot be imported."""
    found = image_map.image_map()
    for entry in found["images"]:
        entry["environment"]["PYTHONPATH"] = f"{ROOT / 'tests/support/hidden'}:{entry['environment']['PYTHONPATH']}"
    return found


if __name__ == "__main__":
    from pipelines.run import main

    with mock.patch("sys.argv", ["run", "local", "up"]), mock.patch.object(stack, "image_map", without_the_suite):
        main()
