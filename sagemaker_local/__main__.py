"""``python -m sagemaker_local``: start a server and say where it listens."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM. Returns the exit code: 0, or 2 when the server cannot start."""
    parser = argparse.ArgumentParser(prog="sagemaker_local", description="A SageMaker on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--state", type=Path, default=Path(".sagemaker_local"), metavar="DIR", help="folder for state and logs")
    parser.add_argument("--images", type=Path, metavar="FILE", help="YAML: what a container image means here")
    arguments = parser.parse_args(argv)

    from sagemaker_local.errors import ImagesFileError
    from sagemaker_local.images import ImageMap
    from sagemaker_local.server import serve

    try:
        images = ImageMap.load(arguments.images.resolve()) if arguments.images else ImageMap()
        serve(arguments.state, images, arguments.host, arguments.port)
    except (ImagesFileError, RuntimeError, OSError) as error:
        print(f"sagemaker_local: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
