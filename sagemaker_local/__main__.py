"""``python -m sagemaker_local``: start a server and say where it listens."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sagemaker_local.errors import ImagesFileError
from sagemaker_local.images import ImageMap

_DESCRIPTION = """\
A SageMaker on this machine: pipelines, jobs, endpoints and the registry, for boto3, the AWS CLI, the SageMaker SDK and the OpenAI SDK."""
_EPILOG = """\
It prints AWS_ENDPOINT_URL=... when it is ready; any AWS client with that in its environment talks to it. For example:

  echo 'images: [{match: "*", command: ["{python}"]}]' > images.yaml     # every image is this Python
  python -m sagemaker_local --port 4566 --images images.yaml

docs/sagemaker_local.md has a first pipeline, the images file, and what is not emulated."""


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM. Returns the exit code: 0, or 2 when the server cannot start."""
    parser = argparse.ArgumentParser(
        "python -m sagemaker_local",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which clients call this server, besides 127.0.0.1, localhost and [::1]; may be repeated",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(".sagemaker_local"),
        metavar="DIR",
        help="folder for state and logs (default: %(default)s)",
    )
    parser.add_argument("--images", type=Path, metavar="FILE", help="YAML: which command stands for which container image")
    arguments = parser.parse_args(argv)

    # deferred: costs 0.4 s, and --help and a wrong option need none of it
    from sagemaker_local.front.server import serve

    try:
        images = ImageMap.load(arguments.images.resolve()) if arguments.images else ImageMap()
        serve(arguments.state, images, arguments.host, arguments.port, arguments.allowed_host)
    except (ImagesFileError, RuntimeError, OSError) as error:
        print(f"sagemaker_local: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
