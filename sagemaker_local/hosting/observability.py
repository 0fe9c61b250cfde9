"""Detailed observability: the Prometheus page of each container, scraped into CloudWatch's OpenTelemetry metrics.

"Amazon SageMaker AI detailed observability for inference endpoints" in the developer guide, and MetricsConfig's API reference: on unless
an endpoint config turns it off, every 60 seconds unless it says otherwise, ``/metrics`` on the container's port. Labels are those of the
"OpenTelemetry metrics reference". Of its metrics those of the container are here; a laptop has no GPU exporter.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from sagemaker_local.cloudwatch.otel_metrics import OtelMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from sagemaker_local.context import Context
    from sagemaker_local.hosting.instances.instance import Instance

PATH = "/metrics"
INTERVAL_S = 60
_TIMEOUT_S = 5.0
_PAGE_BYTES = 4 << 20
_LINE_CHARACTERS = 65_536
_SAMPLES_AT_MOST = 2_000
_SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*+)(?:\{((?:[^"{}]|"(?:[^"\\]|\\.)*+")*+)\})?+ +([+-]?+[0-9.eE+-]++|[+-]Inf|NaN)(?: [0-9]++)?+'
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*+)="((?:[^"\\]|\\.)*+)"')
_LOGGER = logging.getLogger(__name__)


def interval_s(config: Mapping[str, Any]) -> int | None:
    """Return how often the containers of an endpoint config are scraped; None where it does not want them to be. Seconds."""
    wanted = config.get("MetricsConfig") or {}
    if wanted.get("EnableDetailedObservability") is False:
        return None
    return int(wanted.get("MetricPublishFrequencyInSeconds") or INTERVAL_S)


@dataclass
class Scraper:
    """Scrapes containers when they are due. Of one event loop."""

    context: Context
    _due: dict[str, float] = field(default_factory=dict)
    """When each instance is scraped again, on the monotonic clock."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def scrape(self, instances: Iterable[tuple[Instance, int]]) -> None:
        """Begin to scrape those of all instances that are due; forget those that are gone.

        Args:
            instances: all there are, each with how often. Seconds.
        """
        now, due = time.monotonic(), dict[str, float]()
        for instance, every_s in instances:
            due[instance.id] = self._due.get(instance.id, now)
            if due[instance.id] <= now:
                due[instance.id] = max(due[instance.id] + every_s, now)
                task = asyncio.get_running_loop().create_task(self._one(instance))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._due = due

    async def _one(self, instance: Instance) -> None:
        try:
            page = await _fetched(f"{instance.url}{PATH}")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            _LOGGER.debug("%s of %s: %s", PATH, instance.id, error)
            return
        labels = {
            "aws.sagemaker.endpoint.name": instance.endpoint,
            "aws.sagemaker.variant.name": instance.name,
            "@resource.host.id": instance.id,
            "@resource.host.type": instance.instance_type,
        }
        metrics, at = self.context.part(OtelMetrics), time.time()
        for number, (name, own, value) in enumerate(_samples(page)):
            if number == _SAMPLES_AT_MOST:
                break
            metrics.add(instance.region, name, {**own, **labels}, at, value)


async def _fetched(url: str) -> str:
    """Fetch a page. A container is a stranger: no redirect is followed, and only so much is read.

    Raises:
        ValueError: there is no such page, or it is too large.
    """
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url, timeout=timeout, allow_redirects=False) as response,
    ):
        if response.status != 200 or response.content_type != "text/plain" or "Content-Encoding" in response.headers:
            raise ValueError(f"status {response.status}, {response.content_type}")
        pieces, size = list[bytes](), 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > _PAGE_BYTES:
                raise ValueError(f"more than {_PAGE_BYTES} bytes")
            pieces.append(piece)
    return b"".join(pieces).decode(errors="replace")


def _samples(page: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield name, labels and value of each line that is a sample; buckets of histograms are left out, which nothing here reads."""
    for line in page.split("\n"):
        found = _SAMPLE.fullmatch(line) if len(line) <= _LINE_CHARACTERS else None
        if found is not None and not found[1].endswith("_bucket"):
            try:
                yield (
                    found[1],
                    {name: re.sub(r"\\(.)", r"\1", value) for name, value in _LABEL.findall(found[2] or "")},
                    float(found[3]),
                )
            except ValueError:  # 1.2.3
                continue
