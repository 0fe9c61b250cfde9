"""`python -m tests.faults.whole.sagemaker_local`: sagemaker_local behind a layer that puts requests on record and fails those that it is told to.

`GET /_faults` is the record, `POST /_faults` forgets it and arms the layer: an injection, or null.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any
from unittest import mock

from sagemaker_local import __main__ as command
from sagemaker_local.front import application, server
from sagemaker_local.identity.call_log import _PREFIXES, _understood
from sagemaker_local.web.request import AsgiScope, HttpRequest, Receive, Send
from tests.faults.calls import name_of
from tests.faults.injector import Injection

PATH = "/_faults"
_CODES = {"denied": "AccessDenied", "expired": "ExpiredToken", "throttled": "ThrottlingException", "500": "InternalFailure"}
_ENDS = {"killed": signal.SIGKILL, "terminated": signal.SIGTERM}


class FaultyApplication(application.Application):
    """The application, behind the layer."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._injection: Injection | None = None
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._struck = 0

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request, or fail it."""
        request = HttpRequest(scope, receive, send)
        if request.path == PATH:
            await self._arm(request)
            return
        _, service = request.credential_scope
        if not service or request.path.startswith("/endpoints/"):  # the load on an endpoint is no subject of this
            await super().__call__(scope, receive, send)
            return
        body = await request.body()
        caller, name = self._name(request, service, body)
        self._numbers[caller, name] += 1
        found = self._injection
        spread = found is not None and found.kind.spreads and self._struck > 0 and caller == found.caller
        if found is None or not (spread or found.strikes(caller, name, self._numbers[caller, name])):
            await super().__call__(scope, _again(body, receive), send)
            return
        self._struck += 1
        await self._strike(
            found, request, body, Answer(lambda to: super(FaultyApplication, self).__call__(scope, _again(body, receive), to))
        )

    def _name(self, request: HttpRequest, service: str, body: bytes) -> tuple[str, str]:
        role = self._context.identities.caller_of(request).role_arn
        action, parameters = _understood(service, request, body)
        return (role.rsplit("/", 1)[1] if role else "person"), name_of(_PREFIXES.get(service, service), action, parameters)

    async def _arm(self, request: HttpRequest) -> None:
        if request.method == "POST":
            told = json.loads(await request.body())
            self._injection = Injection(**told) if told else None
            self._numbers.clear()
            self._struck = 0
        record = [[caller, call, number] for (caller, call), number in self._numbers.items()]
        await request.respond_json({"record": record, "struck": self._struck})

    async def _strike(self, found: Injection, request: HttpRequest, body: bytes, answer: Answer) -> None:
        if found.fault == "server-killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if found.fault in _ENDS:
            await answer.to(request.send if found.fault == "terminated" else _nobody)
            end_process_of(request, _ENDS[found.fault])
        elif found.fault in _CODES:
            await _refuse(request, body, _CODES[found.fault])
            return
        else:
            if found.kind.applied:
                await answer.to(_nobody)
            await asyncio.sleep(0)
        if found.fault != "terminated":
            request.receive.__self__.transport.abort()  # type: ignore[attr-defined]  # uvicorn has no public way to reset a connection


class Answer:
    """What the application answers to one request."""

    def __init__(self, ask: Callable[[Send], Any]) -> None:
        self._ask = ask

    async def to(self, send: Send) -> None:
        """Give it to somebody."""
        await self._ask(send)


async def _nobody(message: MutableMapping[str, Any]) -> None:
    """Take an answer that is lost."""


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what comes."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> MutableMapping[str, Any]:
        return left.pop() if left else await receive()

    return give


async def _refuse(request: HttpRequest, body: bytes, code: str) -> None:
    """Answer with an error, as the protocol of the request has it."""
    status = 500 if code == "InternalFailure" else 400
    if "/operation/" in request.path:
        content = b"\xa2" + b"".join(_cbor(text) for text in ("__type", code, "message", "a fault"))
        await request.respond(status, [(b"content-type", b"application/cbor"), (b"smithy-protocol", b"rpc-v2-cbor")], content)
    elif request.headers.get("x-amz-target") or request.credential_scope[1] == "sagemaker":
        content = json.dumps({"__type": code, "message": "a fault"}).encode()
        kind = [(b"content-type", b"application/x-amz-json-1.1"), (b"x-amzn-errortype", code.encode())]
        await request.respond(status, kind, content)
    else:
        wrong = f"<Error><Code>{code}</Code><Message>a fault</Message></Error>"
        wrong = wrong if request.credential_scope[1] == "s3" else f"<ErrorResponse>{wrong}</ErrorResponse>"
        s3 = (
            {"ThrottlingException": 503, "AccessDenied": 403}.get(code, status) if request.credential_scope[1] == "s3" else status
        )
        await request.respond(s3, [(b"content-type", b"application/xml")], wrong.encode())


def _cbor(text: str) -> bytes:
    """A text of fewer than 24 bytes."""
    return bytes([0x60 + len(text)]) + text.encode()


def end_process_of(request: HttpRequest, number: signal.Signals) -> None:
    """Send a signal to the processes that have this request's credentials."""
    token = request.headers.get("x-amz-security-token", "")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if token and f"AWS_SESSION_TOKEN={token}".encode() in variables and int(folder.name) != os.getpid():
            os.kill(int(folder.name), number)


if __name__ == "__main__":
    with mock.patch.object(server, "Application", FaultyApplication):
        sys.exit(command.main())
