"""moto's state on disk: written when the server stops and, after changes, every few seconds; read when it starts.

moto keeps everything in memory. Each service's backends are pickled into a file of their own; a service whose state cannot be
pickled starts empty, and the log says so.
"""

from __future__ import annotations

import io
import logging
import pickle
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local import s3_objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sagemaker_local.moto import Moto

INTERVAL_S = 5.0
# Much data that changes all the time: only written when the server stops.
_ONLY_AT_STOP = frozenset({"logs", "cloudwatch"})
# Made anew by moto, large, and of no use here.
_NEVER = frozenset({"ec2", "moto_api", "instance_metadata"})
_TRIES = 5
_LOGGER = logging.getLogger(__name__)


@dataclass
class Snapshots:
    """moto's state in a folder."""

    moto: Moto
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
        import moto
        from moto.backends import get_backend

        self.folder.mkdir(parents=True, exist_ok=True)
        s3_objects.install(self.objects)
        for file in sorted(self.folder.glob("*.pickle")):
            try:
                with file.open("rb") as stream:
                    version, regions = pickle.load(stream)  # noqa: S301 -- our own file
                if version != moto.__version__:
                    raise ValueError(f"it was written by moto {version}, and this is {moto.__version__}")
                account = get_backend(file.stem)[self.moto.account_id]
                for region, backend in regions.items():
                    account[region] = backend
            except Exception:
                _LOGGER.exception("the state of %s cannot be read from %s; it starts empty", file.stem, file)
        s3_objects.forget_orphans(self.objects)

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
        while not self._stopped.wait(INTERVAL_S):
            self._changed.wait()
            if not self._stopped.is_set():
                self._changed.clear()
                self._write(everything=False)

    def _write(self, *, everything: bool) -> None:
        from moto.core.base_backend import BackendDict

        with self._lock:
            for backends in list(BackendDict._instances):
                service = backends.service_name
                if service in _NEVER or (service in _ONLY_AT_STOP and not everything) or self.moto.account_id not in backends:
                    continue
                try:
                    self._write_service(service, backends[self.moto.account_id])
                except Exception as error:  # noqa: BLE001 -- one service of many; the others are to be kept
                    _LOGGER.info("the state of %s will not survive a restart: %r", service, error)

    def _write_service(self, service: str, account: Any) -> None:
        import moto

        data = _retried(lambda: _pickled((moto.__version__, dict(account))))
        digest = hash(data)
        if self._written.get(service) == digest:
            return
        partial = self.folder / f"{service}.partial"
        partial.write_bytes(data)
        partial.replace(self.folder / f"{service}.pickle")
        self._written[service] = digest


def _retried(work: Callable[[], bytes]) -> bytes:
    """Pickle again when another thread has changed a container meanwhile."""
    for _ in range(_TRIES - 1):
        try:
            return work()
        except RuntimeError:
            continue
    return work()


class _Pickler(pickle.Pickler):
    """Pickles the locks and weak maps that some of moto's backends have."""

    def reducer_override(self, value: Any) -> Any:
        """How to make a value again that pickle does not know."""
        if isinstance(value, _LOCK):
            return threading.Lock, ()
        if isinstance(value, _RLOCK):
            return threading.RLock, ()
        if type(value) is weakref.WeakValueDictionary:
            return weakref.WeakValueDictionary, (dict(value),)
        return NotImplemented


_LOCK, _RLOCK = type(threading.Lock()), type(threading.RLock())


def _pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    with s3_objects.by_name():
        _Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(value)
    return stream.getvalue()
