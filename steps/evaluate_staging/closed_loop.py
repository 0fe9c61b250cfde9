"""A closed loop: a fixed number of clients, each sending its next request when its last answer is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from config.load_profiles import ClosedLoop
from steps.evaluate_staging.client import SageMakerClient, now_ns
from steps.evaluate_staging.measurement import Measurement


async def run(
    profile: ClosedLoop, client: SageMakerClient, prompts: Iterator[str], on_progress: Callable[[str], None]
) -> Measurement:
    """Put the load on; returns what was measured after the warm-up. Requests under way at the end are waited for."""
    begin_ns = now_ns() + int(profile.warmup_s * 1e9)
    end_ns = begin_ns + int(profile.duration_s * 1e9)
    measurement = Measurement(begin_ns, end_ns)

    async def one_client() -> None:
        while now_ns() < end_ns:
            measurement.add(await client.send(next(prompts), profile.output_tokens, now_ns()))

    reporting = asyncio.create_task(_report(measurement, on_progress))
    try:
        await asyncio.gather(*(one_client() for _ in range(profile.concurrency)))
    finally:
        reporting.cancel()
    return measurement


async def _report(measurement: Measurement, on_progress: Callable[[str], None]) -> None:
    """Say once a second how it goes."""
    while True:
        await asyncio.sleep(1)
        on_progress(measurement.line(now_ns()))
