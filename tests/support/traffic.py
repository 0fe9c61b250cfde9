"""Streaming traffic at a fixed rate while production changes, and a count of the instances that serve meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.waiting import wait_until
from tests.support.worlds.promotion import QUESTION, PromotionWorld

_BODY = json.dumps({"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 12, "temperature": 0, "stream": True})
_TOKENS = 12
_SENDERS = 64


@dataclass
class Traffic:
    """What became of the requests."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    """When each request that was answered in whole was sent (time.monotonic), and which version answered."""
    failed: list[str] = field(default_factory=list)
    """Requests that ended with an error."""
    truncated: list[str] = field(default_factory=list)
    """Streams that stopped before their end."""

    def since(self, moment: float) -> Counter[str]:
        """Who answered the requests that were sent after a moment."""
        return Counter(version for at, version in self.answers if at >= moment)

    def wait_for(self, count: int, since: float = 0) -> None:
        """Until so many requests that were sent after a moment have been answered, or failed."""
        wait_until(
            lambda: self.since(since).total() >= count or self.failed or self.truncated, f"{count} answers since {since:.3f}"
        )

    @property
    def versions(self) -> Counter[str]:
        """Who gave the answers."""
        return self.since(0)


@contextmanager
def traffic(world: PromotionWorld, endpoint: str, rate_per_s: float = 20) -> Iterator[Traffic]:
    """So many streaming requests a second for the time of the `with` block, sent on schedule whatever the answers take."""
    found, stop = Traffic(), threading.Event()
    runtime = world.client("sagemaker-runtime")

    def send(senders: ThreadPoolExecutor) -> None:
        started = time.monotonic()
        for number in range(10**9):
            if stop.wait(max(0.0, started + number / rate_per_s - time.monotonic())):
                return
            senders.submit(_ask, runtime, endpoint, found)

    with ThreadPoolExecutor(_SENDERS) as senders:
        schedule = threading.Thread(target=send, args=(senders,))
        schedule.start()
        try:
            yield found
        finally:
            stop.set()
            schedule.join()


def _ask(runtime: Any, endpoint: str, found: Traffic) -> None:
    sent_at = time.monotonic()
    try:
        answer = runtime.invoke_endpoint_with_response_stream(EndpointName=endpoint, ContentType="application/json", Body=_BODY)
        text = b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"]).decode()
    except Exception as error:  # noqa: BLE001  (whatever it is, the caller's request failed)
        found.failed.append(f"{type(error).__name__}: {error}")
        return
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    deltas = [json.loads(line)["choices"] for line in lines if line != "[DONE]"]
    words = [choice["delta"].get("content") or "" for choices in deltas for choice in choices]
    content = "".join(words)
    if not lines or lines[-1] != "[DONE]" or len(content.split()) != _TOKENS:
        found.truncated.append(text[-300:])
        return
    found.answers.append((sent_at, " ".join(content.split()[:2])))


@dataclass
class Count:
    """How many instances were healthy at each look."""

    samples: list[int] = field(default_factory=list)

    @property
    def fewest(self) -> int:
        return min(self.samples)

    @property
    def most(self) -> int:
        return max(self.samples)


@contextmanager
def counting(world: PromotionWorld, endpoint: str) -> Iterator[Count]:
    """The endpoint's instances, old and new, counted every 20 ms for the time of the `with` block: those that passed their health check."""
    count, stop = Count(), threading.Event()
    sagemaker = world.client("sagemaker")

    def look() -> None:
        while not stop.wait(0.02):
            described = sagemaker.describe_endpoint(EndpointName=endpoint)
            variants = [
                *described.get("ProductionVariants", []),
                *described.get("PendingDeploymentSummary", {}).get("ProductionVariants", []),
            ]
            count.samples.append(sum(variant["CurrentInstanceCount"] for variant in variants))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield count
    finally:
        stop.set()
        looker.join()
