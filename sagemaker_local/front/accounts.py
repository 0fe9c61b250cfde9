"""The accounts of one server: the default one, and those whose roles somebody has assumed.

Each has a state of its own, so that resources of two accounts never meet; moto keeps its services apart by account too (bucket names
are everybody's, as on AWS). A request belongs to the account of the access key that it is signed with.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sagemaker_local.context import Context

FOLDER = "accounts"


@dataclass
class Accounts:
    """The contexts of a server, one for each account that is used."""

    default: Context
    make: Callable[[str, Path], Context]
    """Makes the context of an account, given its id and its state directory."""
    started: list[Callable[[Context], None]] = field(default_factory=list)
    """Called with the context of every account that comes into use."""
    _others: dict[str, Context] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, account_id: str) -> Context:
        """Return the context of an account, made at its first use."""
        if account_id == self.default.account_id:
            return self.default
        with self._lock:
            found = self._others.get(account_id)
            if found is None:
                found = self._others[account_id] = self.make(account_id, self.default.state_dir / FOLDER / account_id)
                for start in self.started:
                    start(found)
            return found

    def all(self) -> list[Context]:
        """Return every account in use, the default one first."""
        with self._lock:
            return [self.default, *self._others.values()]

    def take_up(self) -> None:
        """Use the accounts again that an earlier server on this state directory used."""
        for folder in sorted((self.default.state_dir / FOLDER).glob("*")):
            self.of(folder.name)
