"""The front door: one port for SageMaker's control plane and data plane and for every other AWS service (moto's)."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import resource
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sagemaker_local import actions, eventbridge, wsgi
from sagemaker_local.context import Context
from sagemaker_local.errors import AwsError
from sagemaker_local.events import EventSink
from sagemaker_local.http import Disconnected, Request
from sagemaker_local.logs import LogSink
from sagemaker_local.moto import DEFAULT_ACCOUNT_ID, Moto
from sagemaker_local.processes import ProcessTable
from sagemaker_local.s3 import S3Front
from sagemaker_local.snapshot import Snapshots
from sagemaker_local.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sagemaker_local.http import Receive, Scope, Send
    from sagemaker_local.images import ImageMap

_LOGGER = logging.getLogger(__name__)
_THREADS = 64  # control-plane requests at once; most of them wait
_CHILD_GRACE_S = 5.0
_CONNECTION_GRACE_S = 2


class Application:
    """The ASGI application."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="request")
        self._s3 = S3Front(context.moto, self._executor)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        try:
            await self._route(request)
        except Disconnected:
            return
        except Exception:
            _LOGGER.exception("%s %s", request.method, request.path)
            await request.respond_error(AwsError("InternalFailure", f"See {self._context.state_dir}/sagemaker_local.log.", 500))

    async def _route(self, request: Request) -> None:
        _, service = request.credential_scope
        target = request.headers.get("x-amz-target", "")
        if request.path.startswith("/endpoints/") and service != "s3":
            from sagemaker_local.hosting.gateway import Gateway

            await self._context.part(Gateway).serve(request)
        elif target.startswith("SageMaker."):
            await self._control(request, target.partition(".")[2])
        elif service == "s3" or (not service and not target and request.path.strip("/")):
            await self._s3.serve(request)
        elif not service and request.method == "GET":
            await request.respond_json({"service": "sagemaker_local", "pid": os.getpid()})
        else:
            await wsgi.serve(self._context.moto.application, self._executor, request)

    async def _control(self, request: Request, action: str) -> None:
        """A SageMaker action: JSON 1.1 in and out."""
        region, _ = request.credential_scope
        try:
            data = json.loads(await request.body() or b"{}")
        except ValueError:
            await request.respond_error(AwsError("SerializationException", "The request's body is not JSON."))
            return
        try:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._executor, actions.run, self._context, region, action, data)
        except AwsError as error:
            await request.respond_error(error)
        else:
            await request.respond_json(answer)


def serve(state_dir: Path, images: ImageMap, host: str = "127.0.0.1", port: int = 0) -> None:
    """Run a server until SIGTERM or SIGINT. Prints ``AWS_ENDPOINT_URL=...`` when it is ready, and ends its children before it returns.

    Raises:
        OSError: the port is taken.
        RuntimeError: another server runs on this state directory.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    with _only_one(state_dir), socket.create_server((host, port), backlog=2048) as listener:
        # Accepted sockets inherit it. asyncio sets it only where the listener was made with IPPROTO_TCP.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _log_to(state_dir / "sagemaker_local.log")
        _raise_open_files_limit()
        asyncio.run(_serve(state_dir.resolve(), images, listener))


async def _serve(state_dir: Path, images: ImageMap, listener: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to us."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    host, port = listener.getsockname()[:2]
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 -- compared, not bound
    context = _context(state_dir, images, url)
    server = Server(
        uvicorn.Config(
            Application(context),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=120,
            timeout_graceful_shutdown=_CONNECTION_GRACE_S,
            server_header=False,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while not server.started and not serving.done():  # noqa: ASYNC110 -- uvicorn offers only the flag
        await asyncio.sleep(0.005)
    await asyncio.to_thread(_start_rooms, context)
    monitor = asyncio.create_task(_monitor(context))
    (state_dir / "server.json").write_text(json.dumps({"pid": os.getpid(), "port": port, "endpoint_url": url}))
    sys.stdout.write(f"AWS_ENDPOINT_URL={url}\n")
    sys.stdout.flush()
    await stop.wait()
    monitor.cancel()
    server.should_exit = True
    await _close(context)
    await serving
    context.store.close()
    # Worker threads may still wait for something that will not come; nothing of theirs is to be kept.
    logging.shutdown()
    os._exit(0)


async def _monitor(context: Context) -> None:
    from sagemaker_local.hosting import monitor

    await monitor.run(context)


def _context(state_dir: Path, images: ImageMap, url: str) -> Context:
    store = Store(state_dir / "state.sqlite")
    moto = Moto(DEFAULT_ACCOUNT_ID)
    snapshots = Snapshots(moto, state_dir / "moto")
    snapshots.restore()
    moto.on_change = snapshots.changed
    snapshots.start()
    logs = LogSink(moto)
    return Context(
        state_dir=state_dir,
        account_id=DEFAULT_ACCOUNT_ID,
        endpoint_url=url,
        images=images,
        store=store,
        processes=ProcessTable(store, logs),
        logs=logs,
        moto=moto,
        events=EventSink(),
        loop=asyncio.get_running_loop(),
        snapshots=snapshots,
    )


def _start_rooms(context: Context) -> None:
    """Load what the first request would have to wait for, and let the rooms take up what the last server left."""
    _ = context.moto.application
    eventbridge.install(context)
    actions.table()
    for resume in actions.RESUMES:
        resume(context)


async def _close(context: Context) -> None:
    """End everything that runs."""
    for close in context.closers:
        await asyncio.to_thread(close)
    await asyncio.to_thread(context.processes.close, _CHILD_GRACE_S)
    await asyncio.to_thread(context.events.close)
    context.logs.close()
    await asyncio.to_thread(context.snapshots.close)
    (context.state_dir / "server.json").unlink(missing_ok=True)


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
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _raise_open_files_limit() -> None:
    """moto keeps a file open for each object that is not small."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
