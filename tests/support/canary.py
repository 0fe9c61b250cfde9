"""A secret that must turn up nowhere: looked for in files, in what S3 has, and in what every process on the machine shows of itself."""

from __future__ import annotations

import base64
import gzip
import threading
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_INTERVAL_S = 0.02


@dataclass
class Canary:
    """A secret, and where it was seen."""

    secret: str
    seen: set[str] = field(default_factory=set)
    looked_at: set[str] = field(default_factory=set)
    """What was searched: a search that finds nothing to look at would find nothing in it."""

    @property
    def forms(self) -> tuple[bytes, ...]:
        """As it is, in a URL, and in base64 at each of the three offsets, without the ends that depend on what is around it."""
        raw = self.secret.encode()
        shifted = [base64.b64encode(b"\0" * shift + raw)[4:-4] for shift in range(3)]
        return (raw, urllib.parse.quote(self.secret, safe="").encode(), *shifted)

    def look_at(self, where: str, data: bytes) -> None:
        """Search some bytes, unpacked where they are compressed."""
        self.looked_at.add(where)
        if data.startswith(b"\x1f\x8b"):
            with suppress(OSError, EOFError, zlib.error):
                data = gzip.decompress(data)
        if any(form in data for form in self.forms):
            self.seen.add(where)

    def look_below(self, folder: Path, but: Iterable[str] = ()) -> None:
        """Search every file of a folder and its name, `but` those at these paths below it."""
        for path in folder.rglob("*"):
            relative = path.relative_to(folder).as_posix()
            self.look_at(f"name of {relative}", relative.encode(errors="surrogateescape"))
            if path.is_file() and relative not in but:
                self.look_at(relative, path.read_bytes())

    @contextmanager
    def watching_processes(self) -> Iterator[None]:
        """Meanwhile, search the command line and the environment of every process, but those that were there before: they are the user's."""
        known, over = set(_processes()), threading.Event()
        watcher = threading.Thread(target=self._watch, args=(known, over), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _watch(self, known: set[str], over: threading.Event) -> None:
        while not over.wait(_INTERVAL_S):
            for pid in set(_processes()) - known:
                self._look_at_process(pid)

    def _look_at_process(self, pid: str) -> None:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return  # it has ended, or is another user's
        shown = " ".join(command.decode(errors="replace").split("\0")[:4])
        self.look_at(f"command line of {shown}", command)
        if "pipelines.run" not in shown and "tests.local.up" not in shown:  # the user's own, whom the variable belongs to
            self.look_at(f"environment of {shown}", environment)


def _processes() -> list[str]:
    return [path.name for path in Path("/proc").glob("[0-9]*")]
