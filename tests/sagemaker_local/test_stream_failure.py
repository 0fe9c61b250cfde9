"""What a client of a stream sees when the server itself fails in the middle of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

from botocore.eventstream import EventStreamBuffer

from sagemaker_local.hosting.dataplane.gateway import Gateway
from sagemaker_local.limits import Limits


class FailingContent:
    """A container's answer whose second piece runs into a defect of ours."""

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("a defect")


def test_a_defect_in_the_middle_of_a_stream_is_an_internal_stream_failure() -> None:
    sent: list[bytes] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["body"])

    gateway = Gateway(cast(Any, SimpleNamespace(images=SimpleNamespace(limits=Limits()))))
    invocation = SimpleNamespace(passed_on=lambda data: None, instance=SimpleNamespace(endpoint="e"))
    response = SimpleNamespace(content=FailingContent())
    asyncio.run(gateway._send_events(cast(Any, SimpleNamespace(send=send)), cast(Any, response), cast(Any, invocation)))
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(sent))
    part, failure = [event.to_response_dict() for event in buffer]
    assert part["body"] == b"first"
    assert failure["headers"][":exception-type"] == "InternalStreamFailure"
    assert json.loads(failure["body"])["Message"].startswith("The stream processing failed")
    assert sent[-1] == b"", "and the answer ends"
