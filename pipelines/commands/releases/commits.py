"""The git history of the model files: which changed since a commit, in which commit, and the text of a deleted one."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UsageError


@dataclass(frozen=True)
class ChangedFile:
    """A file that is another than it was, or is gone."""

    path: Path
    is_deleted: bool
    commit: str
    """The last commit that changed it: the same however long ago the comparison begins."""


class Commits:
    """The history of the clone that a folder is in."""

    def __init__(self, folder: Path) -> None:
        """UsageError when the folder is in no clone."""
        self._folder = folder
        self._root = Path(self._git("rev-parse", "--show-toplevel", otherwise=f"{folder} is in no git clone; run this in one"))

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return self._git("rev-parse", "HEAD", otherwise="the clone has no commit yet; commit something")

    def resolve(self, commit: str) -> str:
        """Return the whole hash of a commit. UsageError when the clone does not have it."""
        return self._git(
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{commit}^{{commit}}",
            otherwise=f"this clone has no commit {commit!r}: it is shallow (git fetch --unshallow), or that commit was rewritten; "
            "name one that is there: --since COMMIT",
        )

    def before_head(self) -> str:
        """Return the first parent of the checked-out commit, or, for a clone's very first commit, the empty tree."""
        if self._succeeds("rev-parse", "--verify", "--quiet", "HEAD^1"):
            return self._git("rev-parse", "HEAD^1")
        return self._git("hash-object", "-t", "tree", "/dev/null")

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Tell whether one commit is the other, or comes before it."""
        return self._succeeds("merge-base", "--is-ancestor", older, newer)

    def changed(self, since: str) -> list[ChangedFile]:
        """List the YAML files of the folder that are not what they were at `since`, by name. A renamed file is a deleted and a new one."""
        listed = self._git("diff", "--name-status", "--no-renames", "-z", since, "HEAD", "--", str(self._folder))
        words = listed.split("\0")[:-1]
        found = [(status, self._root / name) for status, name in zip(words[::2], words[1::2], strict=True)]
        return [
            ChangedFile(path, status == "D", self._git("log", "-1", "--format=%H", "HEAD", "--", str(path)))
            for status, path in found
            if path.suffix == ".yaml" and path.parent == self._folder.resolve()
        ]

    def uncommitted(self) -> list[Path]:
        """List the files of the folder that differ from the checked-out commit, new ones among them."""
        listed = self._git("status", "--porcelain", "--no-renames", "-z", "--", str(self._folder)).split("\0")
        return [self._root / line[3:] for line in listed if line]

    def content(self, commit: str, path: Path) -> str:
        """Return the text of a file at a commit."""
        return self._git("show", f"{commit}:{path.relative_to(self._root).as_posix()}")

    def _git(self, *arguments: str, otherwise: str = "") -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise UsageError(otherwise or f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout.strip("\n")

    def _succeeds(self, *arguments: str) -> bool:
        return self._run(*arguments).returncode == 0

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(["git", *arguments], cwd=self._folder, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise UsageError("there is no git on this machine; install it") from None
