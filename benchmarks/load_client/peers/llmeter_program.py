"""Runs in llmeter's environment: URL STREAMS SECONDS FILE. What it writes, `benchmarks.load_client.observed` reads."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from llmeter.endpoints.openai import OpenAICompletionStreamEndpoint  # type: ignore[import-not-found]
from llmeter.runner import Runner  # type: ignore[import-not-found]


def main(url: str, streams: str, seconds: str, file: str) -> None:
    """Put the load on."""
    endpoint = OpenAICompletionStreamEndpoint("known-truth", api_key="token", base_url=f"{url}/v1", max_retries=0)
    payload = endpoint.create_payload("Tell me what you know about number 7", max_tokens=64)
    runner = Runner(endpoint, clients=int(streams), run_duration=float(seconds), payload=payload)
    result = asyncio.run(runner.run())
    offset = time.time_ns() - time.monotonic_ns()
    pairs = []
    for response in result.responses:
        if response.error is None:
            began = round(response.request_time.timestamp() * 1e9) - offset
            stamps = [int(word) for word in response.response_text.split()]
            pairs.append((stamps[0], began + round(response.time_to_first_token * 1e9)))
            pairs.append((stamps[-1], began + round(response.time_to_last_token * 1e9)))
    itl = {name: result.stats[f"time_per_output_token-{name}"] * 1e3 for name in ("p50", "p99")}
    Path(file).write_text(json.dumps({"pairs": pairs, "what": "first and last token", "itl": itl}))


if __name__ == "__main__":
    main(*sys.argv[1:])
