"""`images`: the two container images that this tree needs, and whether the registry has them."""

from __future__ import annotations

from config.loader import load_environment
from pipelines.setup.images import list_images


def images(env: str) -> None:
    """Print a line an image: name, Dockerfile, address, state. CommandError when the registry cannot be asked."""
    for image in list_images(load_environment(env)):
        print(image.name, image.dockerfile, image.uri, image.state)
