"""moto's WSGI application behind ASGI: bodies through files, work in threads."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from sagemaker_local.errors import NotImplementedHere

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from sagemaker_local.errors import AwsError
    from sagemaker_local.web.request import Headers, HttpRequest

OWN_USER_AGENT = "sagemaker_local"
"""What the User-Agent of the server's own requests has in it."""
_BLOCK_BYTES = 256 * 1024
_THREADS = 64  # requests at once; most of them wait
_LOGGER = logging.getLogger(__name__)
_PRESERVED = "moto.preserved_header_names"  # moto.core.request.PRESERVED_HEADER_NAMES_ENVIRON_KEY
_REST_XML = {"s3", "route53", "cloudfront"}  # services whose requests do not show that they speak XML
_SIGNED_FOR = re.compile(r"Credential=[^/,]+/\d+/[^/,]+/([^/,]+)/")
_NOT_PASSED_ON = {"date", "server", "connection", "transfer-encoding"}


def environ(
    request: HttpRequest, body: IO[bytes], length: int, headers: Iterable[tuple[bytes, bytes]] | None = None
) -> dict[str, Any]:
    """Return the WSGI environment of a request, with this body; ``headers`` replace the request's own."""
    scope = request.scope
    query = scope["query_string"].decode("latin-1")
    raw_path = scope["raw_path"].decode("latin-1")
    result: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": raw_path + (f"?{query}" if query else ""),
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    names: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"] if headers is None else headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        result[key] = f"{result[key]},{value}" if key in result else value
        if "_" in name and name.startswith("x-amz-meta-"):
            names[key] = name
    result["CONTENT_LENGTH"] = str(length)
    result[_PRESERVED] = names
    return result


class WorkerPools:
    """Threads for requests. The server's own have theirs: another request may be waiting for them, with 63 others of its kind."""

    def __init__(self) -> None:
        self._of_clients = ThreadPoolExecutor(_THREADS, thread_name_prefix="request")
        self._own = ThreadPoolExecutor(_THREADS, thread_name_prefix="own request")

    def of(self, user_agent: str) -> Executor:
        """Return the threads for a request of this User-Agent."""
        return self._own if OWN_USER_AGENT in user_agent else self._of_clients


class WsgiResponse:
    """What a WSGI application answered."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: Headers = []
        self.body = b""


def call(application: Any, environment: dict[str, Any]) -> WsgiResponse:
    """Run a WSGI application in this thread. The environment is empty afterwards."""
    answer = WsgiResponse()

    def start_response(status: str, headers: list[tuple[str, str]], error: object = None) -> None:
        answer.status = int(status.split()[0])
        answer.headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers
            if name.lower() not in _NOT_PASSED_ON
        ]

    try:
        parts = application(environment, start_response)
        try:
            answer.body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
    except NotImplementedError as error:
        _refuse(answer, environment, NotImplementedHere(str(error) or "This action is not emulated."))
    finally:
        environment.clear()  # werkzeug's request is in it and has it: with its body it would wait for the garbage collector
    return answer


async def serve(application: Any, workers: WorkerPools, request: HttpRequest, body: IO[bytes]) -> None:
    """WsgiResponse a request, whose body has been read into a file, with a WSGI application."""
    length = body.seek(0, io.SEEK_END)
    body.seek(0)
    answer = await run(application, workers, environ(request, body, length))
    await send(request, answer)


async def run(application: Any, workers: WorkerPools, environment: dict[str, Any]) -> WsgiResponse:
    """Run a WSGI application in a thread."""
    threads = workers.of(environment.get("HTTP_USER_AGENT", ""))
    return await asyncio.get_running_loop().run_in_executor(threads, call, application, environment)


async def send(request: HttpRequest, answer: WsgiResponse) -> None:
    """Send an answer, in blocks, so that a slow client does not make the server keep copies."""
    headers = answer.headers
    if not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", str(len(answer.body)).encode())]
    await request.send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = memoryview(answer.body) if request.method != "HEAD" else memoryview(b"")
    for start in range(0, len(body), _BLOCK_BYTES):
        await request.send({"type": "http.response.body", "body": bytes(body[start : start + _BLOCK_BYTES]), "more_body": True})
    await request.send({"type": "http.response.body", "body": b""})


async def refuse(request: HttpRequest, error: AwsError) -> None:
    """Answer a request with an error, without reading its body."""
    answer = WsgiResponse()
    _refuse(answer, environ(request, io.BytesIO(), 0), error)
    await send(request, answer)


def _refuse(answer: WsgiResponse, environment: dict[str, Any], error: AwsError) -> None:
    """Answer with an error in the shape that the service's protocol has ("AWS query protocol", "AWS restXml protocol" in Smithy's documentation)."""
    answer.status = error.status
    found = _SIGNED_FOR.search(environment.get("HTTP_AUTHORIZATION", ""))
    service = found[1] if found else ""
    if service not in _REST_XML and not environment.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        answer.headers = [(b"content-type", b"application/x-amz-json-1.1"), (b"x-amzn-errortype", error.code.encode())]
        answer.body = json.dumps({"__type": error.code, "message": error.message}).encode()
        return
    told = f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
    if service == "ec2":
        told = f"<Response><Errors>{told}</Errors></Response>"
    elif service != "s3":
        told = f"<ErrorResponse>{told}</ErrorResponse>"
    answer.headers = [(b"content-type", b"text/xml")]
    answer.body = told.encode()
