"""The load client with every answer's text kept, which a user does not need: `python -m benchmarks.load_client.ours`."""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

from benchmarks.load_client import observed
from benchmarks.load_client.observed import Observed
from loadtest.generator.load import Load
from loadtest.generator.worker_pool import WorkerPool
from loadtest.measurement.measurement import Measurement
from loadtest.transports import Transport
from loadtest.transports.openai import OpenAITransport
from loadtest.transports.sagemaker import SageMakerTransport

TRANSPORTS = ("openai", "sagemaker")
_PERCENTILES = ("p50", "p99", "p999")


def main() -> None:
    """Put the load on, and write what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("transport", choices=TRANSPORTS)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--duration", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    transport: Transport = (
        OpenAITransport(f"{given.url}/v1", "token", "known-truth")
        if given.transport == "openai"
        else SageMakerTransport("known-truth", "us-east-1", given.url)
    )
    load = Load(transport, 60, 32, 64, 0, given.duration, concurrency=given.streams, keep_text=True)
    with WorkerPool() as pool:
        measurement = pool.measure(load)
    if measurement.errors:
        raise SystemExit(f"errors: {measurement.errors}: {next(one.message for one in measurement.results if one.error)}")
    observed.write(given.output, _observed(measurement))


def _observed(measurement: Measurement) -> Observed:
    pairs = chain.from_iterable(zip(observed.stamps(one.text), one.token_ns, strict=True) for one in measurement.results)
    latency = measurement.latencies()["itl"]
    assert latency is not None
    mean = sorted(one.tpot_ms or 0.0 for one in measurement.results)
    itl = {name: getattr(latency, name) for name in _PERCENTILES} | {"p999 of means": observed.percentile(mean, 99.9)}
    return Observed(list(pairs), "every token", itl)


if __name__ == "__main__":
    main()
