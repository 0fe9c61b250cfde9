"""The audit log, ``STATE/calls.jsonl``: every AWS call that reached this server, one JSON object a line, with the role that made it.

``{"at": "2026-11-25T13:00:00.123Z", "service": "s3", "action": "PutObject", "account": "123456789012", "role_arn": "arn:…" or null,
"job": the ARN of the job or endpoint whose container called, or null, "parameters": {…}}``

``service`` is the prefix that IAM policies use, and ``action`` the operation's name in the service's model; a call of the OpenAI path
is ``CallWithBearerToken`` and ``InvokeEndpoint``, the two that AWS asks for ("Invoke endpoints with OpenAI-compatible APIs"). Calls
that SageMaker itself makes with a role are there as well: a pipeline's steps with the pipeline's role, a job's inputs and outputs with
the job's, a model's data with the model's execution role, a rule's target with the target's role. ``parameters`` has what the request
names: members that are short; longer ones are left out, and of secrets, environments, commands and messages only ``***`` is there. The
file is a fraction of a second behind, is appended to by later servers on the same state, and is the user's to delete.
"""

from __future__ import annotations

import io
import json
import logging
import queue
import threading
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from werkzeug.exceptions import HTTPException

from sagemaker_local.identity.redaction import redacted
from sagemaker_local.timestamps import iso_ms
from sagemaker_local.web import wsgi

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sagemaker_local.identity.identities import Caller
    from sagemaker_local.web.request import HttpRequest

_LONGEST_VALUE = 500
LONGEST_BODY_BYTES = 256 * 1024
"""What is looked at of a request's body."""
_PREFIXES = {"monitoring": "cloudwatch", "sagemaker-runtime": "sagemaker", "email": "ses"}
"""Services whose signing name is another than the prefix in IAM policies."""
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _SeenCall:
    """A request as it came, to be understood later."""

    at: float
    caller: Caller
    service: str
    action: str | None
    request: HttpRequest | None
    body: bytes
    parameters: Mapping[str, Any] | None = None


class CallLog:
    """Writes calls to a file, on a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        path.chmod(0o600)  # an earlier version's may be everybody's to read
        self._queue: queue.SimpleQueue[_SeenCall | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="calls", daemon=True)
        self._thread.start()

    def made(self, caller: Caller, service: str, action: str, parameters: Mapping[str, Any]) -> None:
        """Record a call of which everything is known."""
        self._queue.put(_SeenCall(time.time(), caller, service, action, None, b"", parameters))

    def came(self, caller: Caller, service: str, request: HttpRequest, body: bytes = b"") -> None:
        """Record a request that came over HTTP; which action it is will be found out."""
        self._queue.put(_SeenCall(time.time(), caller, service, None, request, body[:LONGEST_BODY_BYTES]))

    def close(self) -> None:
        """Write what came until now."""
        self._queue.put(None)
        self._thread.join(5.0)
        self._file.close()

    def _run(self) -> None:
        for seen in iter(self._queue.get, None):
            try:
                self._file.write(json.dumps(_entry(seen)) + "\n")
            except Exception:
                _LOGGER.exception("a call of %s", seen.service)


def _entry(seen: _SeenCall) -> dict[str, Any]:
    if seen.request is None:
        action, parameters = str(seen.action), dict(seen.parameters or {})
    else:
        action, parameters = _understood(seen.service, seen.request, seen.body)
    service = _PREFIXES.get(seen.service, seen.service)
    parameters = redacted(service, action, parameters)
    return {
        "at": iso_ms(seen.at),
        "service": service,
        "action": action,
        "account": seen.caller.account_id,
        "role_arn": seen.caller.role_arn,
        "job": seen.caller.job,
        "parameters": {name: value for name, value in parameters.items() if _is_short(value)},
    }


def _is_short(value: Any) -> bool:
    return value is not None and len(value if isinstance(value, str) else json.dumps(value, default=str)) <= _LONGEST_VALUE


def _understood(service: str, request: HttpRequest, body: bytes) -> tuple[str, dict[str, Any]]:
    """Return the action and the parameters of a request, by the protocol of its service."""
    if request.headers.get("content-encoding") == "gzip":  # botocore does so with PutMetricData of 10 KiB and more
        body = _unzipped(body)
    if target := request.headers.get("x-amz-target"):
        return target.rpartition(".")[2], _json(body)
    _, has_operation, operation = request.path.rpartition("/operation/")
    if has_operation:  # Smithy's RPC protocols: the body is CBOR
        return operation, {}
    fields = dict(request.query) | (dict(parse_qsl(body.decode(errors="replace"))) if not request.query.get("Action") else {})
    if action := fields.get("Action"):
        return action, {name: value for name, value in fields.items() if name not in ("Action", "Version")}
    return _by_route(service, request, body)


def _by_route(service: str, request: HttpRequest, body: bytes) -> tuple[str, dict[str, Any]]:
    """Return a REST request, matched with the operations of the service's model (moto has the matching)."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.core.request import Request as MotoRequest
    from moto.core.routing import get_service_router

    environ = wsgi.environ(request, io.BytesIO(), 0)
    try:
        operation, named = get_service_router(service).match(MotoRequest(environ))
    except (HTTPException, ValueError, LookupError):
        return f"{request.method} {request.path}", {}
    finally:
        environ.clear()  # as in ``wsgi.call``
    parameters = {**named, **({} if service == "s3" else _json(body))}
    if service == "s3" and "prefix" in request.query:
        parameters["Prefix"] = request.query["prefix"]
    return str(operation.name), parameters


def _unzipped(body: bytes) -> bytes:
    """Return the beginning of what was compressed; nothing where it is no gzip."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, LONGEST_BODY_BYTES)
    except zlib.error:
        return b""


def _json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
