"""What a container image means on this machine: patterns of image addresses, and the command that stands for each.

The images file (YAML); the first entry that matches wins::

    images:
      - match: "*/my-image:*"                     # fnmatch, on the whole image address
        command: ["{python}", "/abs/program.py"]  # stands for the image's ENTRYPOINT and CMD
        environment: {PORT: "{port}"}             # wins over the container's own environment
        working_directory: "/abs"
    capacity: {ml.p5.48xlarge: 0}                 # endpoint instances of a type at once; one that is not here is never short
    limits: {model_timeout_s: 1}                  # lower than the service's, for tests; see limits.py

Placeholders in command, environment and working directory: ``{python}`` (this interpreter), ``{opt_ml}`` (the directory that
stands for ``/opt/ml``), ``{port}`` (a free port, for endpoints), ``{name}`` and ``{instance_type}``.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sagemaker_local.errors import ImagesFileError, ValidationError
from sagemaker_local.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = frozenset({"match", "command", "environment", "working_directory"})
_PLACEHOLDER = re.compile(r"\{(python|opt_ml|port|name|instance_type)\}")


@dataclass(frozen=True)
class ContainerCommand:
    """A command with its placeholders filled in."""

    argv: list[str]
    environment: dict[str, str]
    working_directory: Path | None


@dataclass(frozen=True)
class ImageCommand:
    """One entry of the images file."""

    match: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str | None = None

    def launch(self, *, name: str, opt_ml: Path, instance_type: str, port: int | None = None) -> ContainerCommand:
        """Return the command to start for one container.

        Args:
            name: of the job or endpoint.
            opt_ml: the directory that stands for ``/opt/ml``.
            instance_type: such as ``ml.g5.xlarge``.
            port: where the container is to listen; None for jobs (``{port}`` then becomes 8080, SageMaker's own).
        """
        values = {
            "python": sys.executable,
            "opt_ml": str(opt_ml),
            "port": str(port or 8080),
            "name": name,
            "instance_type": instance_type,
        }

        def fill(text: str) -> str:
            return _PLACEHOLDER.sub(lambda found: values[found[1]], text)

        return ContainerCommand(
            argv=[fill(word) for word in self.command],
            environment={key: fill(value) for key, value in self.environment.items()},
            working_directory=Path(fill(self.working_directory)) if self.working_directory else None,
        )


@dataclass(frozen=True)
class ImageMap:
    """The images file, read."""

    entries: tuple[ImageCommand, ...] = ()
    path: Path | None = None
    capacity: Mapping[str, int] = field(default_factory=dict)
    """Instance type → how many instances all endpoints together can have; a type that is not here is never short."""
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def load(cls, path: Path) -> ImageMap:
        """Read an images file.

        Raises:
            ImagesFileError: it cannot be read, or an entry is wrong.
        """
        try:
            data = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise ImagesFileError(f"The images file {path} cannot be read: {error}") from error
        entries = data.get("images") if isinstance(data, dict) else None
        if not isinstance(entries, list):
            raise ImagesFileError(f"The images file {path} must be a mapping with a list under 'images'.")
        capacity = data.get("capacity") or {}
        if not isinstance(capacity, dict) or not all(isinstance(count, int) and count >= 0 for count in capacity.values()):
            raise ImagesFileError(f"{path}: capacity must map instance types to how many there are, not {capacity!r}.")
        limits = Limits.of(data.get("limits") or {}, str(path))
        return cls(tuple(_entry(path, index, entry) for index, entry in enumerate(entries)), path, capacity, limits)

    def resolve(self, image_uri: str) -> ImageCommand:
        """Return the first entry whose pattern matches this image address.

        Raises:
            ValidationError: none does; the message says what to add, and where.
        """
        for entry in self.entries:
            if fnmatch.fnmatchcase(image_uri, entry.match):
                return entry
        where = f"to {self.path}" if self.path else "to a file given with --images"
        pattern = "*/" + image_uri.rpartition("/")[2].partition(":")[0].partition("@")[0] + ":*"
        raise ValidationError(
            f"No local command stands for the image {image_uri}. "
            f"Add an entry such as {{match: '{pattern}', command: ['{{python}}', 'PROGRAM']}} {where}."
        )


def _entry(path: Path, index: int, data: Any) -> ImageCommand:
    where = f"{path}: images[{index}]"
    if not isinstance(data, dict) or not isinstance(data.get("match"), str):
        raise ImagesFileError(f"{where} must be a mapping with a pattern under 'match', not {data!r}.")
    unknown = sorted(set(data) - _KEYS)
    if unknown:
        raise ImagesFileError(f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}.")
    command = data.get("command") or []
    if not isinstance(command, list):
        raise ImagesFileError(f"{where}.command must be a list of words, not {command!r}.")
    environment = data.get("environment") or {}
    if not isinstance(environment, dict):
        raise ImagesFileError(f"{where}.environment must be a mapping, not {environment!r}.")
    return ImageCommand(
        match=data["match"],
        command=tuple(str(word) for word in command),
        environment={str(key): str(value) for key, value in environment.items()},
        working_directory=data.get("working_directory"),
    )
