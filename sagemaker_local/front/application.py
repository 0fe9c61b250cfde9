"""The ASGI application: which room answers a request, by its path, its target and the service that it is signed for."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from email.utils import formatdate
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sagemaker_local.api import dispatch
from sagemaker_local.cloudwatch import promql, refusals
from sagemaker_local.errors import AwsError, ClientDisconnected, DiskFull, PromqlError
from sagemaker_local.hosting import autoscaling_refusals
from sagemaker_local.hosting.dataplane import bearer
from sagemaker_local.identity.call_log import LONGEST_BODY_BYTES
from sagemaker_local.limits import Throttle
from sagemaker_local.logs import logs_api
from sagemaker_local.s3.front import S3Front
from sagemaker_local.state.store import hurried
from sagemaker_local.web import wsgi
from sagemaker_local.web.request import HttpRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from sagemaker_local.context import Context
    from sagemaker_local.front.accounts import Accounts
    from sagemaker_local.identity.identities import Caller
    from sagemaker_local.web.browsers import BrowserGuard
    from sagemaker_local.web.request import AsgiScope, Receive, Send

_LOGGER = logging.getLogger(__name__)
_ON_FIRST_USE: dict[str, Callable[[], None]] = {
    "monitoring": refusals.install,
    "application-autoscaling": autoscaling_refusals.install,
}
"""What is put into moto's service before it answers, by the service's signing name."""


class Application:
    """The ASGI application."""

    def __init__(self, accounts: Accounts, guard: BrowserGuard) -> None:
        self._accounts = accounts
        self._guard = guard
        self._context = accounts.default
        self._workers = wsgi.WorkerPools()
        self._s3 = S3Front(self._context.moto, self._workers)
        self._throttle = Throttle(self._context.images.limits.calls_per_s)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = HttpRequest(scope, receive, _dated(send))
        try:
            if refusal := self._guard.refusal(request.method, scope["headers"], request.credential_scope[1]):
                await wsgi.refuse(request, AwsError("AccessDenied", f"sagemaker_local: {refusal}.", 403))
                return
            await self._route(request)
        except ClientDisconnected:
            return
        except Exception as error:
            if full := DiskFull.of(error, self._context.state_dir):
                await request.respond_error(full)
                return
            _LOGGER.exception("%s %s", request.method, request.path)
            await request.respond_error(AwsError("InternalFailure", f"See {self._context.state_dir}/sagemaker_local.log.", 500))

    async def _route(self, request: HttpRequest) -> None:
        _, service = request.credential_scope
        target = request.headers.get("x-amz-target", "")
        if request.path.startswith("/endpoints/") and service != "s3":
            # deferred: aiohttp costs 0.2 s of a start of 0.5 s, and only who has an endpoint needs it
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

    async def _other(self, request: HttpRequest, service: str) -> None:
        """Answer an action of another service: moto does, but for the logs of containers."""
        caller = self._context.identities.caller_of(request)
        with await request.spooled_body() as body:
            if request.path != promql.QUERY_RANGE:
                self._context.calls.came(caller, service, request, body.read(LONGEST_BODY_BYTES))
            if service in _ON_FIRST_USE:
                _ON_FIRST_USE[service]()
            if service == "logs" and await self._logs(request, caller, body):
                return
            if service == "monitoring" and request.path == promql.QUERY_RANGE:
                await self._promql(request, caller, body)
                return
            await wsgi.serve(self._context.moto.application, self._workers, request, body)

    async def _promql(self, request: HttpRequest, caller: Caller, body: IO[bytes]) -> None:
        """Answer a PromQL query, which is by the permissions of two actions ("Required IAM permissions" of QueryMetrics)."""
        for action in ("GetMetricData", "ListMetrics"):
            self._context.calls.made(caller, "cloudwatch", action, {})
        body.seek(0)
        parameters = {**request.query, **dict(parse_qsl(body.read(LONGEST_BODY_BYTES).decode(errors="replace")))}
        context = self._accounts.of(caller.account_id)
        try:
            answer = await asyncio.to_thread(promql.query_range, context, request.credential_scope[0], parameters)
        except PromqlError as error:
            answer = {"status": "error", "errorType": "bad_data", "error": str(error)}
        await request.respond_json(answer, 400 if answer["status"] == "error" else 200, "application/json")

    async def _logs(self, request: HttpRequest, caller: Caller, body: IO[bytes]) -> bool:
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

    async def _control(self, request: HttpRequest, action: str) -> None:
        """Answer a SageMaker action: JSON 1.1 in and out."""
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
    """Return answers with the time at which they begin, as AWS's have it: a client knows the server's clock by it."""

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
        return dispatch.run(context, region, action, data)
