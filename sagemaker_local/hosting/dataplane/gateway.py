"""The data plane: requests to ``/endpoints/NAME/...`` handed to an instance's container, answers handed back as they come."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from sagemaker_local.errors import AwsError, ModelError
from sagemaker_local.hosting.capture import DataCapture
from sagemaker_local.hosting.dataplane import bearer, event_stream
from sagemaker_local.hosting.endpoint import Endpoints
from sagemaker_local.hosting.metrics import EndpointMetrics
from sagemaker_local.limits import Throttle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import ClientResponse, ClientSession

    from sagemaker_local.context import Context
    from sagemaker_local.hosting.capture import CapturedInvocation
    from sagemaker_local.hosting.instances.instance import Instance
    from sagemaker_local.hosting.metrics import VariantKey
    from sagemaker_local.hosting.traffic import TrafficSplit
    from sagemaker_local.identity.identities import Caller
    from sagemaker_local.limits import Limits
    from sagemaker_local.web.request import Headers, HttpRequest

KEEP_IDLE_S = 2.0  # less than the 5 s after which common servers close an idle connection, so that we never use a closed one

_UNANSWERED = (TimeoutError, OSError, aiohttp.ClientError)
"""What a container that does not answer, or stops answering, raises."""
_LOGGER = logging.getLogger(__name__)
_PATH = re.compile(r"/endpoints/([^/]+)/(invocations-response-stream|invocations|async-invocations|openai(/.*)?)$")
_ACTIONS = {
    "invocations": ("InvokeEndpoint",),
    "invocations-response-stream": ("InvokeEndpointWithResponseStream",),
    "async-invocations": ("InvokeEndpointAsync",),
    "openai": ("CallWithBearerToken", "InvokeEndpoint"),
}
"""What a request counts as, by its path."""
_CHAT = "/v1/chat/completions"  # "SageMaker AI endpoints expose an /openai/v1/chat/completions path" (developer guide)
_OPENAI_STATUS = {"ThrottlingException": 429}  # what OpenAI's clients wait for and try again
_PASSED_ON = ("content-type", "accept")
_OWN_PREFIX = "x-amzn-sagemaker-"
_HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
    "host", "content-length", "authorization", "x-amz-security-token", "expect",
})  # fmt: skip
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for each container "
    "in Amazon CloudWatch, resolve the issue, and try again."
)


@dataclass
class Invocation:
    """One request on its way: which instance has it, and when it came, was handed on and was answered."""

    instance: Instance
    status: int = 200
    """Of the container's answer; 0 when it gives none."""
    streamed: bool = True
    captured: CapturedInvocation | None = None
    """What data capture keeps of it, if this one was drawn."""
    answer_type: str = "application/octet-stream"
    _started: float = field(default_factory=time.perf_counter)
    _asked: float | None = None
    _answered: float | None = None

    def ask(self) -> None:
        """Note that the container is asked now."""
        self._asked = time.perf_counter()

    def answered(self, response: ClientResponse) -> None:
        """Note that the container's answer, or its beginning where it is a stream, is here."""
        self._answered = time.perf_counter()
        self.answer_type = response.headers.get("Content-Type", self.answer_type)

    def passed_on(self, data: bytes) -> None:
        """Keep what of the answer goes to the client, where it is captured."""
        if self.captured is not None:
            self.captured.answer.append(data)

    def record(self, metrics: EndpointMetrics, key: VariantKey, instances: int) -> None:
        """Tell the metrics. The time that a stream takes after its beginning is neither the model's latency nor overhead."""
        ended = time.perf_counter()
        if self._asked is None or self._answered is None:
            metrics.request(key, self.instance.config, instances, self.status, None, ended - self._started)
            return
        after = 0.0 if self.streamed else ended - self._answered
        model_s, overhead_s = self._answered - self._asked, self._asked - self._started + after
        metrics.request(key, self.instance.config, instances, self.status, model_s, overhead_s)


@dataclass
class Gateway:
    """Hands requests to instances. One for the server; lives on its event loop."""

    context: Context
    _session: ClientSession | None = None
    _throttles: dict[tuple[str, str], Throttle] = field(default_factory=dict)

    @property
    def _limits(self) -> Limits:
        return self.context.images.limits

    @property
    def session(self) -> ClientSession:
        """The HTTP client for containers: connections are kept, answers are passed on as they are."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_IDLE_S),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    async def serve(self, request: HttpRequest, caller: Caller) -> None:
        """Answer a request of the data plane."""
        found = _PATH.match(request.path)
        if found is None:
            await request.respond_error(AwsError("UnknownOperationException", f"There is nothing at {request.path}.", 404))
            return
        name, kind = found[1], found[2].partition("/")[0]
        region, _ = request.credential_scope
        for action in _ACTIONS[kind]:
            self.context.calls.made(caller, "sagemaker", action, {"EndpointName": name})
        try:
            if kind == "invocations":
                await self._invoke(request, region, name)
            elif kind == "invocations-response-stream":
                await self._invoke_stream(request, region, name)
            elif kind == "async-invocations":
                raise AwsError("NotImplemented", "InvokeEndpointAsync is not emulated.", 501)
            else:
                await self._pass_through(request, region, name, found[3] or "/")
        except ModelError as error:
            await request.respond_error(error, "application/json", **error.more)
        except AwsError as error:
            await request.respond_error(error, "application/json", Message=error.message)

    async def _invoke(self, request: HttpRequest, region: str, name: str) -> None:
        """Answer InvokeEndpoint: the container's whole answer, or ModelError."""
        body = await self._body(request)
        with self._measured(request, region, name, body) as invocation:
            try:
                async with asyncio.timeout(self._limits.model_timeout_s):
                    invocation.streamed = False
                    asked = self._ask(invocation, "POST", "/invocations", body, _container_headers(request))
                    async with await asked as response:
                        answer = await response.read()
            except _UNANSWERED as error:
                raise self._unanswered(region, name, error) from error
            invocation.answered(response)
            invocation.passed_on(answer)
            if response.status >= 300:
                raise ModelError(region, self.context.account_id, name, response.status, answer.decode(errors="replace"))
            await request.respond(200, _answer_headers(response, invocation.instance, "content-type"), answer)

    async def _invoke_stream(self, request: HttpRequest, region: str, name: str) -> None:
        """Answer InvokeEndpointWithResponseStream: the container's bytes as PayloadPart events, as they come."""
        body = await self._body(request)
        with self._measured(request, region, name, body) as invocation:
            response = await self._begun(invocation, region, name, "POST", "/invocations", body, _container_headers(request))
            async with response:
                if response.status >= 300:
                    answer = (await response.read()).decode(errors="replace")
                    raise ModelError(region, self.context.account_id, name, response.status, answer)
                headers = _answer_headers(response, invocation.instance, "x-amzn-sagemaker-content-type")
                headers.append((b"content-type", event_stream.CONTENT_TYPE.encode()))
                await request.send({"type": "http.response.start", "status": 200, "headers": headers})
                await _while_connected(request, self._send_events(request, response, invocation))

    async def _begun(
        self, invocation: Invocation, region: str, name: str, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> ClientResponse:
        """Return an answer that has begun.

        Raises:
            ModelError: it has not, in time.
        """
        try:
            async with asyncio.timeout(self._limits.model_timeout_s):
                response = await self._ask(invocation, method, path, body, headers)
        except _UNANSWERED as error:
            raise self._unanswered(region, name, error) from error
        invocation.answered(response)
        return response

    async def _send_events(self, request: HttpRequest, response: ClientResponse, invocation: Invocation) -> None:
        try:
            async with asyncio.timeout(self._limits.stream_timeout_s):
                async for data in response.content.iter_any():
                    invocation.passed_on(data)
                    await _send_part(request, event_stream.payload_part(data))
        except TimeoutError:
            await _send_part(request, event_stream.exception("ModelStreamError", _TIMED_OUT, "ModelInvocationTimeExceeded"))
        except _UNANSWERED as error:
            message = f"The container closed the stream before its end: {error}"
            await _send_part(request, event_stream.exception("ModelStreamError", message, "StreamBroken"))
        except Exception:
            _LOGGER.exception("a stream of endpoint %s", invocation.instance.endpoint)
            message = "The stream processing failed because of an unknown error, exception or failure."
            await _send_part(request, event_stream.exception("InternalStreamFailure", message))
        await request.send({"type": "http.response.body", "body": b""})

    async def _pass_through(self, request: HttpRequest, region: str, name: str, path: str) -> None:
        """Answer a request of the OpenAI path with the container's own answer, whatever it is, streamed untouched."""
        headers = {key: value for key, value in request.headers.items() if key not in _HOP_BY_HOP}
        query = request.scope["query_string"].decode("latin-1")
        try:
            body = await self._body(request)
            region = bearer.region_of(request.headers.get("authorization", "")) or region
            if path != _CHAT or request.method != "POST":
                raise AwsError("UnknownOperationException", f"Only POST {_CHAT} is there, not {request.method} {path}.", 404)
            with self._measured(request, region, name, body) as invocation:
                target = path + (f"?{query}" if query else "")
                response = await self._begun(invocation, region, name, request.method, target, body, headers)
                invocation.status = response.status
                async with response:
                    answer_headers = _passed_back(response, invocation.instance)
                    await request.send({"type": "http.response.start", "status": response.status, "headers": answer_headers})
                    await _while_connected(request, _copy(request, response, invocation))
        except AwsError as error:
            status = 404 if "not found" in error.message else _OPENAI_STATUS.get(error.code, error.status)
            await _respond_openai_error(request, status, error)

    async def _body(self, request: HttpRequest) -> bytes:
        """Return a request's body.

        Raises:
            AwsError: ``ValidationError``: it is larger than the service takes.
        """
        parts, size = [], 0
        async for block in request.blocks():  # to its end, so that the connection can go on
            size += len(block)
            if size <= self._limits.payload_bytes:
                parts.append(block)
        if size > self._limits.payload_bytes:
            raise AwsError(
                "ValidationError", f"The request's body has {size} bytes; {self._limits.payload_bytes} are the most.", 400
            )
        return b"".join(parts)

    @contextmanager
    def _measured(self, request: HttpRequest, region: str, name: str, body: bytes) -> Iterator[Invocation]:
        """Yield an instance for this request, and keep the request's metrics when it has ended.

        Raises:
            AwsError: ``ValidationError`` when there is no such endpoint or variant, ``ServiceUnavailable`` when nothing serves.
        """
        endpoint = self.context.part(Endpoints).live.get((region, name))
        if endpoint is None or endpoint.traffic is None:
            raise AwsError("ValidationError", f"Endpoint {name} of account {self.context.account_id} not found.", 400)
        if self._limits.invocations_per_s != float("inf"):
            self._throttles.setdefault((region, name), Throttle(self._limits.invocations_per_s)).take()
        invocation = Invocation(self._choose(request, endpoint.traffic, name, body))
        capture = self.context.part(DataCapture)
        if endpoint.fleet is not None and (config := endpoint.fleet.config.get("DataCaptureConfig")):
            invocation.captured = capture.draw(invocation.instance, config, request.headers.get("content-type", ""), body)
        invocation.instance.acquire()
        try:
            yield invocation
            capture.keep(invocation.captured, invocation.answer_type)
        except ModelError as error:
            invocation.status = error.original_status
            raise
        finally:
            invocation.instance.release()
            variant = invocation.instance.name
            count = sum(len(group.instances) for group in endpoint.groups() if group.name == variant)
            invocation.record(self.context.part(EndpointMetrics), (region, name, variant), count)

    def _choose(self, request: HttpRequest, traffic: TrafficSplit, name: str, body: bytes) -> Instance:
        target = request.headers.get("x-amzn-sagemaker-target-variant")
        try:
            instance = traffic.choose(target, body)
        except KeyError:
            raise AwsError("ValidationError", f"Variant {target} not found for endpoint {name}.", 400) from None
        if instance is None:
            raise AwsError("ServiceUnavailable", f"No instance of endpoint {name} is in service.", 503)
        return instance

    async def _ask(self, invocation: Invocation, method: str, path: str, body: bytes, headers: dict[str, str]) -> ClientResponse:
        """Send a request to an instance's container; returns when its answer begins."""
        url = URL(f"{invocation.instance.url}{path}", encoded=True)
        invocation.ask()
        return await self.session.request(method, url, data=body or None, headers=headers, allow_redirects=False)

    def _unanswered(self, region: str, name: str, error: BaseException) -> ModelError:
        if isinstance(error, TimeoutError):
            return ModelError(region, self.context.account_id, name, 0, _TIMED_OUT)
        _LOGGER.warning("endpoint %s: %r", name, error)
        message = "The container closed the connection without an answer."
        return ModelError(region, self.context.account_id, name, 0, message)


def _passed_back(response: ClientResponse, instance: Instance) -> Headers:
    """Return the container's own headers."""
    headers = [(key.lower(), value) for key, value in response.raw_headers if key.lower().decode("latin-1") not in _HOP_BY_HOP]
    if (length := response.headers.get("Content-Length")) is not None:
        headers.append((b"content-length", length.encode()))
    headers.append((b"x-amzn-invoked-production-variant", instance.name.encode()))
    return headers


def _container_headers(request: HttpRequest) -> dict[str, str]:
    """Return what SageMaker tells the container of a request."""
    return {key: value for key, value in request.headers.items() if key in _PASSED_ON or key.startswith(_OWN_PREFIX)}


def _answer_headers(response: ClientResponse, instance: Instance, content_type_header: str) -> Headers:
    """Return the headers of an invocation's answer."""
    headers = [
        (content_type_header.encode(), response.headers.get("Content-Type", "application/octet-stream").encode("latin-1")),
        (b"x-amzn-invoked-production-variant", instance.name.encode()),
        (b"x-amzn-requestid", str(uuid.uuid4()).encode()),
    ]
    for name in ("X-Amzn-SageMaker-Custom-Attributes", "X-Amzn-SageMaker-New-Session-Id", "X-Amzn-SageMaker-Closed-Session-Id"):
        if name in response.headers:
            headers.append((name.lower().encode(), response.headers[name].encode("latin-1")))
    return headers


async def _copy(request: HttpRequest, response: ClientResponse, invocation: Invocation) -> None:
    async for data in response.content.iter_any():
        invocation.passed_on(data)
        await _send_part(request, data)
    await request.send({"type": "http.response.body", "body": b""})


async def _send_part(request: HttpRequest, data: bytes) -> None:
    await request.send({"type": "http.response.body", "body": data, "more_body": True})


async def _while_connected(request: HttpRequest, sending: Any) -> None:
    """Send a stream for as long as its client is there, so that a container does not generate for nobody."""
    task: asyncio.Task[None] = asyncio.ensure_future(sending)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _respond_openai_error(request: HttpRequest, status: int, error: AwsError) -> None:
    """Send an error in the shape that OpenAI's clients know."""
    body: dict[str, Any] = {"error": {"message": error.message, "type": error.code, "param": None, "code": error.code}}
    headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", error.code.encode())]
    await request.respond(status, headers, json.dumps(body).encode())
