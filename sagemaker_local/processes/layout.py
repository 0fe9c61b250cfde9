"""A job instance's stand-in for ``/opt/ml``: where its paths really are, and the configuration files it finds there."""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# /opt/ml as a whole path or as the start of one, also inside a longer text (file:///opt/ml/x, --in=/opt/ml/y).
_OPT_ML = re.compile(r"(?<![\w.])/opt/ml(?=[/\s'\",:;)\]}]|$)")

EXIT_MESSAGE_BYTES = 1024  # DescribeProcessingJob's ExitMessage: the first KB


@dataclass(frozen=True)
class InstanceLayout:
    """The files of one instance of a job. ``host`` is its name among the job's instances, ``algo-N``."""

    root: Path
    host: str

    @property
    def opt_ml(self) -> Path:
        """The directory that stands for ``/opt/ml``."""
        return self.root / "opt" / "ml"

    def local(self, path: str) -> Path:
        """Return where a container's path really is: always inside the sandbox, as a container has no other files."""
        return self.root / posixpath.normpath(f"/{path}").lstrip("/")

    def rewrite(self, text: str) -> str:
        """Return ``text`` with every ``/opt/ml`` path in it pointing at this instance's stand-in."""
        return _OPT_ML.sub(lambda _: str(self.opt_ml), text)

    def write_configuration(self, folder: str, files: Mapping[str, Any]) -> None:
        """Write JSON files to a folder of the container, and make ``/opt/ml/output``."""
        target = self.local(folder)
        target.mkdir(parents=True, exist_ok=True)
        (self.opt_ml / "output").mkdir(exist_ok=True)
        for name, content in files.items():
            (target / name).write_text(json.dumps(content))

    def resources(self, hosts: list[str], instance_type: str) -> dict[str, Any]:
        """Return the content of ``resourceconfig.json``, the same for processing and training jobs."""
        return {
            "current_host": self.host,
            "current_instance_type": instance_type,
            "current_group_name": "homogeneousCluster",
            "hosts": hosts,
            "instance_groups": [{"instance_group_name": "homogeneousCluster", "instance_type": instance_type, "hosts": hosts}],
            "network_interface_name": "lo",
        }

    def exit_message(self) -> str:
        """Return what the process left in ``/opt/ml/output/message``: at most its first KB, and empty when there is none.

        Raises:
            UnicodeDecodeError: the file is not UTF-8, which fails a job.
        """
        path = self.opt_ml / "output" / "message"
        if not path.is_file():
            return ""
        data = path.read_bytes()
        data.decode()
        return data[:EXIT_MESSAGE_BYTES].decode(errors="ignore")  # only the cut can fall inside a character now


def instances(sandbox: Path, count: int) -> list[InstanceLayout]:
    """Return the layouts of a job's instances: ``algo-1``, ``algo-2``, …"""
    return [InstanceLayout(sandbox / f"algo-{number}", f"algo-{number}") for number in range(1, count + 1)]


def chosen(resources: Mapping[str, Any]) -> tuple[str, int]:
    """Return the instance type and count of a job's resources: the given ones, else the first of InstancePreferences.

    On AWS the first that has capacity is taken; here all have.

    >>> chosen({"InstancePreferences": [{"InstanceType": "ml.g5.xlarge", "InstanceCount": 2}]})
    ('ml.g5.xlarge', 2)
    """
    preferred = (resources.get("InstancePreferences") or [{}])[0]
    instance_type = resources.get("InstanceType") or preferred.get("InstanceType", "")
    count = resources.get("InstanceCount") or preferred.get("InstanceCount") or 1
    return str(instance_type), int(count)
