"""The server's process: one port for SageMaker's control plane and data plane and for every other AWS service (moto's)."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import logging
import os
import resource
import signal
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from sagemaker_local.api import dispatch
from sagemaker_local.api.actions import RESUMES
from sagemaker_local.context import Context
from sagemaker_local.event_queue import EventQueue
from sagemaker_local.events import rules, schedules
from sagemaker_local.front.accounts import Accounts
from sagemaker_local.front.application import Application
from sagemaker_local.hosting import monitor
from sagemaker_local.identity.call_log import CallLog
from sagemaker_local.identity.identities import Identities
from sagemaker_local.logs.log_store import LogStore
from sagemaker_local.logs.sink import LogSink
from sagemaker_local.moto_bridge.bridge import DEFAULT_ACCOUNT_ID, Moto
from sagemaker_local.processes.table import ProcessTable
from sagemaker_local.state.snapshot import Snapshots
from sagemaker_local.state.store import Store, stop_waiting
from sagemaker_local.web.browsers import BrowserGuard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sagemaker_local.images import ImageMap

_LOGGER = logging.getLogger(__name__)
_CHILD_GRACE_S = 5.0
_CONNECTION_GRACE_S = 2
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # mallopt(3)
_LARGE_BLOCK_BYTES = 256 * 1024
_ARENAS = 2
_STATE = frozenset({
    "accounts", "calls.jsonl", "endpoints", "lambda", "lock", "logs", "logs.sqlite", "logs.sqlite-shm", "logs.sqlite-wal", "model-data",
    "moto", "processing-jobs", "sagemaker_local.log", "server.json", "state.sqlite", "state.sqlite-shm", "state.sqlite-wal", "stderr.log",
    "training-jobs", "transform-jobs",
})  # fmt: skip
"""What a state folder has."""
_SWITCH_INTERVAL_S = 0.0005  # what a thread that computes may keep the gateway waiting; Python's own is 5 ms


def serve(state_dir: Path, images: ImageMap, host: str = "127.0.0.1", port: int = 0, allowed_hosts: Sequence[str] = ()) -> None:
    """Run a server until SIGTERM or SIGINT. Prints ``AWS_ENDPOINT_URL=...`` when it is ready, and ends its children before it returns.

    Args:
        state_dir: for state and logs; made if it is not there.
        images: which command stands for which container image.
        host: the address to listen on; clients may call the server by it.
        port: 0 is a free one.
        allowed_hosts: names by which clients may call the server, besides ``host`` and loopback's.

    Raises:
        OSError: the port is taken.
        RuntimeError: another server runs on this state directory.
    """
    os.umask(0o077)  # state has secrets, weights and logs: nobody else's to read, nor what the containers write
    state_dir.mkdir(parents=True, exist_ok=True)
    _close_to_others(state_dir)
    with _only_one(state_dir), socket.create_server((host, port), backlog=2048) as listener:
        # Accepted sockets inherit it. asyncio sets it only where the listener was made with IPPROTO_TCP.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _log_to(state_dir / "sagemaker_local.log")
        _raise_open_files_limit()
        _give_memory_back()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        asyncio.run(_serve(state_dir.resolve(), images, listener, BrowserGuard.of(host, *allowed_hosts)))


class _UvicornServer(uvicorn.Server):
    """uvicorn, which leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _serve(state_dir: Path, images: ImageMap, listener: socket.socket, guard: BrowserGuard) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 -- compared, not bound
    moto = Moto(DEFAULT_ACCOUNT_ID)
    snapshots = Snapshots(state_dir / "moto")
    snapshots.restore()
    accounts = _accounts(state_dir, images, url, moto)
    moto.on_change = snapshots.changed
    snapshots.start()
    server = _UvicornServer(
        uvicorn.Config(
            Application(accounts, guard),
            ws="none",  # nothing here speaks WebSocket, so an upgrade is a GET like others
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=120,
            timeout_graceful_shutdown=_CONNECTION_GRACE_S,
            server_header=False,
            date_header=False,  # as old as the request, and a second more
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while not server.started and not serving.done():  # noqa: ASYNC110 -- uvicorn offers only the flag
        await asyncio.sleep(0.005)
    await asyncio.to_thread(_start_rooms, accounts)
    (state_dir / "server.json").write_text(json.dumps({"pid": os.getpid(), "port": port, "endpoint_url": url}))
    sys.stdout.write(f"AWS_ENDPOINT_URL={url}\n")
    sys.stdout.flush()
    await stop.wait()
    server.should_exit = True
    stop_waiting()
    await asyncio.gather(*(_close(context) for context in accounts.all()))
    await asyncio.to_thread(snapshots.close)
    await asyncio.to_thread(accounts.default.calls.close)
    (state_dir / "server.json").unlink(missing_ok=True)
    await serving
    for context in accounts.all():
        context.store.close()
    # Worker threads may still wait for something that will not come; nothing of theirs is to be kept.
    logging.shutdown()
    os._exit(0)


def _accounts(state_dir: Path, images: ImageMap, url: str, moto: Moto) -> Accounts:
    calls, identities = CallLog(state_dir / "calls.jsonl"), Identities(DEFAULT_ACCOUNT_ID)
    loop = asyncio.get_running_loop()

    def make(account_id: str, state_dir: Path) -> Context:
        state_dir.mkdir(parents=True, exist_ok=True)
        store, of_account = (
            Store(state_dir / "state.sqlite"),
            moto if account_id == moto.account_id else moto.of_account(account_id),
        )
        logs = LogSink(of_account, LogStore(state_dir / "logs.sqlite"))
        return Context(
            state_dir=state_dir,
            account_id=account_id,
            endpoint_url=url,
            images=images,
            store=store,
            processes=ProcessTable(store, logs),
            logs=logs,
            moto=of_account,
            events=EventQueue(),
            loop=loop,
            calls=calls,
            identities=identities,
            of_account=lambda wanted: accounts.of(wanted),
            run_action=dispatch.run,
        )

    accounts = Accounts(make(DEFAULT_ACCOUNT_ID, state_dir), make)
    return accounts


def _start_rooms(accounts: Accounts) -> None:
    """Load what the first request would have to wait for, and let the rooms take up what the last server left."""
    _ = accounts.default.moto.application
    dispatch.table()
    rules.install(accounts.of)
    schedules.install()
    accounts.started.append(_start_account)
    _start_account(accounts.default)
    accounts.take_up()


def _start_account(context: Context) -> None:
    rules.listen(context)
    for repeated in (monitor.run(context), schedules.run(context)):
        context.closers.append(asyncio.run_coroutine_threadsafe(repeated, context.loop).cancel)
    for resume in RESUMES:
        resume(context)


async def _close(context: Context) -> None:
    """End everything that runs in an account."""
    for close in context.closers:
        await asyncio.to_thread(close)
    await asyncio.to_thread(context.processes.close, _CHILD_GRACE_S)
    await asyncio.to_thread(context.events.close)
    context.logs.close()


def _close_to_others(state_dir: Path) -> None:
    """Take from others what a folder of an earlier version gives them. A folder that has other things too is not closed itself."""
    ours = [entry for entry in state_dir.iterdir() if entry.name in _STATE and not entry.is_symlink()]
    for entry in ours:
        entry.chmod(0o700 if entry.is_dir() else 0o600)
    if len(ours) == len(list(state_dir.iterdir())):
        state_dir.chmod(0o700)


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    with (state_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"Another sagemaker_local runs on {state_dir}. Stop it, or give --state another directory."
            ) from None
        yield


def _log_to(path: Path) -> None:
    logging.raiseExceptions = False  # on a full disk it would fill the terminal
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "s3transfer", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each connection above those it keeps


def _give_memory_back() -> None:
    """Let glibc return large blocks to the system when they are freed.

    By itself it learns from the first body of some megabytes to keep such blocks, in an arena for each of our many threads.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def _raise_open_files_limit() -> None:
    """moto keeps a file open for each object that is not small."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
