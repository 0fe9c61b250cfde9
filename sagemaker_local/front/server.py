"""The front door: one port for SageMaker's control plane and data plane and for every other AWS service (moto's)."""

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
from email.utils import formatdate
from typing import IO, TYPE_CHECKING, Any

from sagemaker_local.context import Context
from sagemaker_local.errors import AwsError, DiskFull
from sagemaker_local.events import eventbridge
from sagemaker_local.events.sink import EventSink
from sagemaker_local.front import actions, wsgi
from sagemaker_local.front.accounts import Accounts
from sagemaker_local.front.calls import LONGEST_BODY_BYTES, CallLog
from sagemaker_local.front.http import Disconnected, Request
from sagemaker_local.front.identity import Identities
from sagemaker_local.front.limits import Throttle
from sagemaker_local.hosting.dataplane import bearer
from sagemaker_local.logs import logs_api
from sagemaker_local.logs.log_store import LogStore
from sagemaker_local.logs.sink import LogSink
from sagemaker_local.moto_bridge import refusals
from sagemaker_local.moto_bridge.bridge import DEFAULT_ACCOUNT_ID, Moto
from sagemaker_local.processes.table import ProcessTable
from sagemaker_local.s3.front import S3Front
from sagemaker_local.state.snapshot import Snapshots
from sagemaker_local.state.store import Store, hurried, stop_waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, MutableMapping
    from pathlib import Path

    from sagemaker_local.front.http import Receive, Scope, Send
    from sagemaker_local.front.identity import Caller
    from sagemaker_local.images import ImageMap

_LOGGER = logging.getLogger(__name__)
_CHILD_GRACE_S = 5.0
_CONNECTION_GRACE_S = 2
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # mallopt(3)
_LARGE_BLOCK_BYTES = 256 * 1024
_ARENAS = 2
_SWITCH_INTERVAL_S = 0.0005  # what a thread that computes may keep the gateway waiting; Python's own is 5 ms


class Application:
    """The ASGI application."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._context = accounts.default
        self._workers = wsgi.Workers()
        self._s3 = S3Front(self._context.moto, self._workers)
        self._throttle = Throttle(self._context.images.limits.calls_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, _dated(send))
        try:
            await self._route(request)
        except Disconnected:
            return
        except Exception as error:
            if full := DiskFull.of(error, self._context.state_dir):
                await request.respond_error(full)
                return
            _LOGGER.exception("%s %s", request.method, request.path)
            await request.respond_error(AwsError("InternalFailure", f"See {self._context.state_dir}/sagemaker_local.log.", 500))

    async def _route(self, request: Request) -> None:
        _, service = request.credential_scope
        target = request.headers.get("x-amz-target", "")
        if request.path.startswith("/endpoints/") and service != "s3":
            from sagemaker_local.hosting.dataplane.gateway import Gateway

            caller = bearer.caller_of(request, self._context.identities)
            await self._accounts.of(caller.account_id).part(Gateway).serve(request, caller)
        elif target.startswith("SageMaker."):
            await self._control(request, target.partition(".")[2])
        elif service == "s3" or (not service and not target and request.path.strip("/")):
            self._context.calls.came(self._context.identities.caller_of(request), "s3", request)
            await self._s3.serve(request)
        elif not service and request.method == "GET":
            await request.respond_json({"service": "sagemaker_local", "pid": os.getpid()})
        else:
            await self._other(request, service)

    async def _other(self, request: Request, service: str) -> None:
        """An action of another service: moto's, but for the logs of containers."""
        caller = self._context.identities.caller_of(request)
        with await request.spooled_body() as body:
            self._context.calls.came(caller, service, request, body.read(LONGEST_BODY_BYTES))
            refusals.prepare(service)
            if service == "logs" and await self._logs(request, caller, body):
                return
            await wsgi.serve(self._context.moto.application, self._workers, request, body)

    async def _logs(self, request: Request, caller: Caller, body: IO[bytes]) -> bool:
        """Answer an action of CloudWatch Logs where it is on a container's log group."""
        body.seek(0)
        region, action = request.credential_scope[0], request.headers.get("x-amz-target", "").partition(".")[2]
        try:
            data = json.loads(body.read() or b"{}")
            store = self._accounts.of(caller.account_id).logs.store
            if action == "DeleteLogGroup":  # with its streams; the group itself is moto's
                store.delete(region, logs_api.group_of(data))
            if not logs_api.answers(store, region, action, data):
                return False
            loop = asyncio.get_running_loop()
            threads = self._workers.of(request.headers.get("user-agent", ""))
            answer = await loop.run_in_executor(threads, logs_api.run, store, region, caller.account_id, action, data)
        except AwsError as error:
            await request.respond_error(error)
        except ValueError:
            return False  # not JSON: moto says so
        else:
            await request.respond_json(answer)
        return True

    async def _control(self, request: Request, action: str) -> None:
        """A SageMaker action: JSON 1.1 in and out."""
        region, _ = request.credential_scope
        caller = self._context.identities.caller_of(request)
        try:
            data = json.loads(await request.body() or b"{}")
        except ValueError:
            await request.respond_error(AwsError("SerializationException", "The request's body is not JSON."))
            return
        self._context.calls.made(caller, "sagemaker", action, data)
        try:
            self._throttle.take()
            loop = asyncio.get_running_loop()
            context = await asyncio.to_thread(self._accounts.of, caller.account_id)
            threads = self._workers.of(request.headers.get("user-agent", ""))
            answer = await loop.run_in_executor(threads, _run_at_once, context, region, action, data)
        except AwsError as error:
            await request.respond_error(error)
        else:
            await request.respond_json(answer)


def _dated(send: Send) -> Send:
    """Answers with the time at which they begin, as AWS's have it: a client knows the server's clock by it."""

    def dated(message: MutableMapping[str, Any]) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (b"date", formatdate(usegmt=True).encode()),
                *(one for one in message["headers"] if one[0] != b"date"),
            ]
        return send(message)

    return dated


def _run_at_once(context: Context, region: str, action: str, data: dict[str, Any]) -> dict[str, Any]:
    """Run an action of a request, which waits for nothing but what the action itself waits for."""
    with hurried():
        return actions.run(context, region, action, data)


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
        _give_memory_back()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
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
    moto = Moto(DEFAULT_ACCOUNT_ID)
    snapshots = Snapshots(state_dir / "moto")
    snapshots.restore()
    accounts = _accounts(state_dir, images, url, moto)
    moto.on_change = snapshots.changed
    snapshots.start()
    server = Server(
        uvicorn.Config(
            Application(accounts),
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
            events=EventSink(),
            loop=loop,
            calls=calls,
            identities=identities,
            of_account=lambda wanted: accounts.of(wanted),
        )

    accounts = Accounts(make(DEFAULT_ACCOUNT_ID, state_dir), make)
    return accounts


def _start_rooms(accounts: Accounts) -> None:
    """Load what the first request would have to wait for, and let the rooms take up what the last server left."""
    _ = accounts.default.moto.application
    actions.table()
    eventbridge.install(accounts)
    accounts.started.append(_start_account)
    _start_account(accounts.default)
    accounts.take_up()


def _start_account(context: Context) -> None:
    from sagemaker_local.hosting import monitor

    eventbridge.listen(context)
    context.closers.append(asyncio.run_coroutine_threadsafe(monitor.run(context), context.loop).cancel)
    for resume in actions.RESUMES:
        resume(context)


async def _close(context: Context) -> None:
    """End everything that runs in an account."""
    for close in context.closers:
        await asyncio.to_thread(close)
    await asyncio.to_thread(context.processes.close, _CHILD_GRACE_S)
    await asyncio.to_thread(context.events.close)
    context.logs.close()


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
