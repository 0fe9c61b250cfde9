"""moto's state on disk: written half a second after a change and when the server stops; read when it starts.

A server that is killed goes back to what was written last. moto keeps everything in memory. Each service's backends are pickled into a
file of their own; a service whose state cannot be pickled starts empty, and the log says so.
"""

from __future__ import annotations

import copyreg
import importlib
import io
import logging
import marshal
import pickle
import sys
import threading
import time
import types
import weakref
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.moto_bridge.bridge import backends, loaded_backends
from sagemaker_local.s3 import objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moto.core.base_backend import BackendDict

_PAUSE_S = 0.5
_PAUSE_OF_COST = 20.0  # a large state is written less often: for a twentieth of the time at most
# Much data that changes all the time: only written when the server stops.
_ONLY_AT_STOP = frozenset({"cloudwatch"})
# Made anew by moto, large, and of no use here.
_NEVER = frozenset({"ec2", "moto_api", "instance_metadata"})
_TRIES = 5
_LOGGER = logging.getLogger(__name__)


@dataclass
class Snapshots:
    """moto's state in a folder."""

    folder: Path
    _changed: threading.Event = field(default_factory=threading.Event)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _written: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def objects(self) -> Path:
        """Where S3 objects are."""
        return self.folder / "s3-objects"

    def restore(self) -> None:
        """Give moto the state that is in the folder. To be called before anything uses moto."""
        self.folder.mkdir(parents=True, exist_ok=True)
        objects.install(self.objects)
        for file in sorted(self.folder.glob("*.pickle")):
            try:
                with file.open("rb") as stream:
                    version, accounts = pickle.load(stream)  # noqa: S301 -- our own file
                if version != _version():
                    raise ValueError(f"it was written by {version}, and this is {_version()}")
                for account_id, regions in accounts.items():
                    account = backends(file.stem)[account_id]
                    for region, backend in regions.items():
                        account[region] = backend
            except Exception:
                _LOGGER.exception("the state of %s cannot be read from %s; it starts empty", file.stem, file)
        objects.forget_orphans(self.objects)

    def start(self) -> None:
        """Write changes from now on, in a thread."""
        threading.Thread(target=self._run, name="snapshots", daemon=True).start()

    def changed(self) -> None:
        """Something in moto may have changed."""
        self._changed.set()

    def close(self) -> None:
        """Write everything, one last time."""
        self._stopped.set()
        self._changed.set()
        self._write(everything=True)

    def _run(self) -> None:
        pause_s = _PAUSE_S
        while not self._stopped.wait(pause_s):
            self._changed.wait()
            if not self._stopped.is_set():
                self._changed.clear()
                started = time.monotonic()
                self._write(everything=False)
                pause_s = max(_PAUSE_S, _PAUSE_OF_COST * (time.monotonic() - started))

    def _write(self, *, everything: bool) -> None:
        with self._lock, objects.deletions_kept():
            for accounts in loaded_backends():
                service = accounts.service_name
                if service in _NEVER or (service in _ONLY_AT_STOP and not everything) or not accounts:
                    continue
                try:
                    self._write_service(service, accounts)
                except OSError as error:
                    _LOGGER.error("the state of %s is not written yet: %s", service, error)
                    self._changed.set()  # the disk may be full only for now: try again, whether or not something changes
                except Exception as error:  # noqa: BLE001 -- one service of many; the others are to be kept
                    _LOGGER.info("the state of %s will not survive a restart: %r", service, error)

    def _write_service(self, service: str, accounts: BackendDict[Any]) -> None:
        data = _retried(lambda: _pickled((_version(), {id: dict(regions) for id, regions in list(accounts.items())})))
        digest = hash(data)
        if self._written.get(service) == digest:
            return
        partial = self.folder / f"{service}.partial"
        partial.write_bytes(data)
        partial.replace(self.folder / f"{service}.pickle")
        self._written[service] = digest


def _version() -> str:
    """Return what must be the same for a state to be read."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    import moto

    return f"moto {moto.__version__} on Python {sys.version_info.major}.{sys.version_info.minor}"


def _retried(work: Callable[[], bytes]) -> bytes:
    """Pickle again when another thread has changed a container meanwhile."""
    for _ in range(_TRIES - 1):
        try:
            return work()
        except RuntimeError:
            continue
    return work()


class _Pickler(pickle.Pickler):
    """Pickles what some of moto's backends have and pickle does not know: locks, weak maps, local functions, default dictionaries."""

    def reducer_override(self, value: Any) -> Any:
        """Return how to make a value again that pickle does not know."""
        if isinstance(value, _LOCK):
            return threading.Lock, ()
        if isinstance(value, _RLOCK):
            return threading.RLock, ()
        if type(value) is weakref.WeakValueDictionary:
            return weakref.WeakValueDictionary, (dict(value),)
        if isinstance(value, types.FunctionType) and "<locals>" in value.__qualname__:
            cells = tuple(cell.cell_contents for cell in value.__closure__ or ())
            return _function, (marshal.dumps(value.__code__), value.__module__, value.__defaults__, cells)
        if isinstance(value, defaultdict) and type(value) is not defaultdict:
            # Made without __init__, which takes other arguments than defaultdict's.
            state = (value.default_factory, value.__dict__)
            return copyreg.__newobj__, (type(value),), state, None, iter(list(value.items())), _set_default  # type: ignore[attr-defined]
        return NotImplemented


def _function(code: bytes, module: str, defaults: tuple[Any, ...] | None, cells: tuple[Any, ...]) -> Any:
    """Return a function that was defined inside another, made again."""
    closure = tuple(types.CellType(value) for value in cells)
    variables = vars(importlib.import_module(module))
    return types.FunctionType(marshal.loads(code), variables, argdefs=defaults, closure=closure)  # noqa: S302 -- our own file


def _set_default(target: Any, state: tuple[Any, dict[str, Any]]) -> None:
    target.default_factory = state[0]
    target.__dict__.update(state[1])


_LOCK, _RLOCK = type(threading.Lock()), type(threading.RLock())


def _pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    with objects.by_name():
        _Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(value)
    return stream.getvalue()
