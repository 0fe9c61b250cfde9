"""Which images a release runs in: what `serving.image` stands for, and the tag that an image of ours gets from what goes into it.

An environment file names our two images by their repositories. Their tag is a digest of everything that the Dockerfile copies and of the
Dockerfile itself, so the tree says which images it needs, an image is built once for its content, and no tag is ever pushed twice.
An environment file may name a tag or a digest instead; then that image is taken as it is, and never built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from config.environment import Environment, Images
from config.serving import Serving
from pipelines.errors import CommandError, UsageError

SGLANG_VERSION = "0.5.20"
"""The SGLang that container/Dockerfile pins; AWS's own image is taken at the same version."""

PROJECT = Path(__file__).parents[2]
DOCKERFILES = {"steps": "container/steps.Dockerfile", "serving": "container/Dockerfile"}
"""Which Dockerfile makes which image of an environment."""
_TAG_DIGITS = 20  # 80 bits: no two contents of one project meet


@dataclass(frozen=True)
class ProjectImage:
    """One of our two images, as an environment needs it now."""

    name: str
    """`steps` or `serving`."""
    dockerfile: str
    """What it is built with, from the project's folder."""
    uri: str
    """Its address, tag included."""
    state: Literal["present", "missing", "pinned"]
    """Whether the registry has it. `pinned`: the environment file names a tag or digest of its own; nothing is built."""


def serving_image(serving: Serving, environment: Environment) -> str:
    """Return the serving container's URI: `project` is the environment's own image, `aws` AWS's SGLang image, anything else a URI already."""
    if serving.image == "project":
        return environment.images.serving
    if serving.image == "aws":
        from sagemaker.core import image_uris  # deferred: the SageMaker SDK costs seconds, and only `aws` needs it

        uri: str = image_uris.retrieve(
            "sglang",
            environment.region,
            version=SGLANG_VERSION,
            instance_type=serving.instance_type,
            image_scope="inference",
        )
        return uri
    return serving.image


def tag_images(environment: Environment) -> Environment:
    """Complete the environment's image addresses: those without a tag get the one of this tree's content.

    UsageError when the tree is not here, as in an installed package: the environment file must name tags then.
    """
    images = {
        name: uri if _is_pinned(uri) else f"{uri}:{content_tag(DOCKERFILES[name])}"
        for name, uri in environment.images.model_dump().items()
    }
    return environment.model_copy(update={"images": Images(**images)})


def list_images(environment: Environment) -> list[ProjectImage]:
    """List our two images as the registry has them. `environment` is as its file says, before `tag_images`.

    CommandError when the registry cannot be asked or has no such repository.
    """
    whole = tag_images(environment).images.model_dump()
    return [
        ProjectImage(
            name,
            DOCKERFILES[name],
            whole[name],
            "pinned" if _is_pinned(uri) else "present" if _is_pushed(whole[name], environment.region) else "missing",
        )
        for name, uri in environment.images.model_dump().items()
    ]


def content_tag(dockerfile: str, project: Path = PROJECT) -> str:
    """Compute the tag of the image that `dockerfile` (a path in the project) builds: a digest of it and of all that it copies.

    The base image counts too: the Dockerfile names it by digest. UsageError when a file is not there.
    """
    digest = hashlib.sha256()
    for path in [project / dockerfile, *sorted(_copied(project, dockerfile))]:
        executable = bool(path.stat().st_mode & 0o100)  # as git keeps it
        digest.update(f"{path.relative_to(project).as_posix()}\0{executable}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_TAG_DIGITS]


def _copied(project: Path, dockerfile: str) -> Iterator[Path]:
    """Yield every file that the Dockerfile's COPY lines take from the project, without what .dockerignore leaves out."""
    try:
        text = (project / dockerfile).read_text(encoding="utf-8").replace("\\\n", " ")
        ignored = [line for line in (project / ".dockerignore").read_text().split("\n") if line and not line.startswith("#")]
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no {error.filename} to make an image's tag from; work in a clone of the project, or name a tag in the environment "
            "file (images.steps, images.serving)"
        ) from None
    for line in text.splitlines():
        word, *arguments = line.split() or [""]
        if word == "COPY":
            for source in arguments[:-1]:
                yield from _files(project, project / source, ignored)


def _files(project: Path, source: Path, ignored: list[str]) -> Iterator[Path]:
    if not source.exists():
        raise UsageError(f"there is no {source}, which an image of ours copies; work in a whole clone of the project")
    for path in source.rglob("*") if source.is_dir() else [source]:
        if path.is_file() and not _is_ignored(path.relative_to(project), ignored):
            yield path


def _is_ignored(path: Path, patterns: list[str]) -> bool:
    """Tell whether .dockerignore leaves the file out: by its own path or a folder's that it is in; `**/NAME` is at any depth."""
    for part in [path, *path.parents][:-1]:
        for pattern in patterns:
            name = pattern.removeprefix("**/")
            if fnmatchcase(part.name if name != pattern else part.as_posix(), name):
                return True
    return False


def _is_pinned(uri: str) -> bool:
    """Tell whether an image address has a tag or a digest; a colon before the last slash is a port."""
    return "@" in uri or ":" in uri.rsplit("/", 1)[-1]


def _is_pushed(uri: str, region: str) -> bool:
    address, _, tag = uri.rpartition(":")
    registry, _, repository = address.partition("/")
    ecr = boto3.client("ecr", region_name=region)
    try:
        ecr.describe_images(registryId=registry.split(".")[0], repositoryName=repository, imageIds=[{"imageTag": tag}])
    except ecr.exceptions.ImageNotFoundException:
        return False
    except (ClientError, BotoCoreError) as error:
        raise CommandError(
            f"could not ask ECR for {uri}: {error}; its repository is made by infra/delivery.yaml, and images.steps and images.serving "
            "of the environment file name it"
        ) from error
    return True
