"""`python -m tests.faults.whole.up`: `pipelines.run local up` with the layer before its SageMaker."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from pipelines.setup.local import service, stack
from tests.local.up import without_the_suite

_spawn = service.spawn


def _with_the_layer(command: list[str], log: Path) -> object:
    layered = ["tests.faults.whole.sagemaker_local" if word == "sagemaker_local" else word for word in command]
    return _spawn(layered, log)


if __name__ == "__main__":
    from pipelines.run import main

    with (
        mock.patch("sys.argv", ["run", "local", "up"]),
        mock.patch.object(stack, "image_map", without_the_suite),
        mock.patch.object(service, "spawn", _with_the_layer),
    ):
        main()
