"""One streamed request to an endpoint over SageMaker's own API: InvokeEndpointWithResponseStream, signed, decoded as it comes.

boto3 blocks a thread a stream; here hundreds of streams share one event loop, so the request is signed by botocore and sent by aiohttp.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import aiohttp
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.eventstream import EventStreamBuffer

from steps.evaluate_staging.results import RequestResult

_SERVICE = "sagemaker"  # the signing name of sagemaker-runtime


class StreamError(Exception):
    """An error event in the middle of a stream; the first argument is its kind."""


class SageMakerClient:
    """Sends chat completions to one endpoint."""

    def __init__(self, session: aiohttp.ClientSession, runtime: Any, endpoint: str, timeout_s: float) -> None:
        """`runtime` is a boto3 sagemaker-runtime client: its address, region and credentials are used."""
        self._session = session
        self._url = f"{runtime.meta.endpoint_url}/endpoints/{quote(endpoint)}/invocations-response-stream"
        self._credentials = runtime._request_signer._credentials
        self._region = runtime.meta.region_name
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def send(self, prompt: str, max_tokens: int, intended_ns: int) -> RequestResult:
        """Ask, read the stream to its end, and say how it went. Never raises: a failure is a result."""
        result = RequestResult(intended_ns)
        body = json.dumps(
            {
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": max_tokens,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()
        headers = self._signed(body)
        try:
            result.sent_ns = time.monotonic_ns()
            async with self._session.post(self._url, data=body, headers=headers, timeout=self._timeout) as response:
                if response.status != 200:
                    result.error, result.message = f"http_{response.status}", (await response.text())[:300]
                else:
                    await self._read(response, result)
        except TimeoutError:
            result.error = "timeout"
        except StreamError as error:
            result.error, result.message = str(error.args[0]), str(error.args[1])[:300]
        except (aiohttp.ClientError, ConnectionError, ValueError, LookupError) as error:
            result.error, result.message = type(error).__name__, str(error)[:300]
        result.ended_ns = time.monotonic_ns()
        return result

    def _signed(self, body: bytes) -> dict[str, str]:
        request = AWSRequest("POST", self._url, data=body, headers={"Content-Type": "application/json"})
        SigV4Auth(self._credentials.get_frozen_credentials(), _SERVICE, self._region).add_auth(request)
        return dict(request.headers.items())

    @staticmethod
    async def _read(response: aiohttp.ClientResponse, result: RequestResult) -> None:
        events = EventStreamBuffer()
        lines = _Lines()
        finished = False
        async for chunk in response.content.iter_any():
            now = time.monotonic_ns()
            events.add_data(chunk)
            for event in events:
                for data in lines.add(_payload(event)):
                    finished = _take(data, now, result) or finished
        if not finished:
            result.error = "truncated"
        elif not result.token_ns:
            result.error = "empty"
        if not result.output_tokens:
            result.output_tokens = len(result.token_ns)


def _payload(event: Any) -> bytes:
    """The bytes of a PayloadPart; StreamError for an error event (ModelStreamError, InternalStreamFailure)."""
    if event.headers.get(":message-type") == "event":
        return bytes(event.payload)
    kind = event.headers.get(":exception-type") or event.headers.get(":error-code") or "stream_error"
    raise StreamError(kind, bytes(event.payload).decode(errors="replace"))


def _take(data: bytes, now_ns: int, result: RequestResult) -> bool:
    """Note one server-sent event; True when it says that the answer is finished."""
    if data == b"[DONE]":
        return True
    event = json.loads(data)
    usage = event.get("usage")
    if usage:
        result.output_tokens, result.prompt_tokens = usage.get("completion_tokens", 0), usage.get("prompt_tokens", 0)
    finished = False
    for choice in event.get("choices", ()):
        delta = choice.get("delta", {})
        if delta.get("content") or delta.get("reasoning_content"):
            result.token_ns.append(now_ns)
        finished = finished or choice.get("finish_reason") is not None
    return finished


class _Lines:
    """Cuts the data of server-sent events out of parts that end anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, part: bytes) -> Iterator[bytes]:
        """The data of every line that this part completes."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def connector(connections: int) -> aiohttp.TCPConnector:
    """A pool that never makes a request wait for a connection."""
    return aiohttp.TCPConnector(limit=max(connections * 2, 100), limit_per_host=0, keepalive_timeout=60)


def now_ns() -> int:
    """The clock that everything here is measured with."""
    return time.monotonic_ns()


async def gather_cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
