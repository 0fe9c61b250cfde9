"""`python -m benchmarks.capacity`: how near the capacity search comes to knees that are known by arithmetic.

An engine with P places, each held for S seconds by a request, completes P / S requests a second and not one more (the simulated engine,
`container/engines/simulated`, in a process of its own). The last engine has a prefix cache, and S is mostly the reading of the prompt: a search
that asked the same prompts again would find more than three times its knee. The search knows nothing of that: it puts load on over HTTP and
looks at the latencies. Exit code 1 when a rate that it finds is more than 5 % from the knee.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.generator.worker_pool import WorkerPool
from loadtest.inputs import LoadInputs
from loadtest.profiles import CAPACITY, Capacity, Objective
from loadtest.runner import ProfileRun, Runner
from loadtest.transports.openai import OpenAITransport

ROOT = Path(__file__).parents[1]
BAR = 0.05
_NOT_FRESH = 17
"""Of a prompt's tokens: 12 of a chat template, which the simulated engine has none of, and the first five words, the same in all."""
_CACHE_TOKENS = 10_000_000


@dataclass(frozen=True)
class Engine:
    """An engine whose knee is known."""

    places: int
    ttft_ms: int
    itl_ms: int
    tokens: int
    start_rate_per_s: float
    """Where the search begins: far below the knee, near it, or far above."""
    prompt_tokens: int = 16
    prefill_us: int = 0
    """What a token of the prompt costs that is not in the prefix cache. Microseconds."""

    @property
    def service_ms(self) -> int:
        """How long a request holds its place."""
        return self.ttft_ms + self.prefill_ms + (self.tokens - 1) * self.itl_ms

    @property
    def prefill_ms(self) -> int:
        """How long the reading of a prompt takes that has nothing but its first words in the cache."""
        return round((self.prompt_tokens - _NOT_FRESH) * self.prefill_us / 1000)

    @property
    def knee_per_s(self) -> float:
        """The highest rate that it completes."""
        return self.places / self.service_ms * 1000


ENGINES = (
    Engine(places=4, ttft_ms=100, itl_ms=20, tokens=21, start_rate_per_s=2),
    Engine(places=20, ttft_ms=50, itl_ms=10, tokens=6, start_rate_per_s=150),
    Engine(places=64, ttft_ms=200, itl_ms=20, tokens=16, start_rate_per_s=400),
    Engine(places=8, ttft_ms=50, itl_ms=10, tokens=11, start_rate_per_s=5, prompt_tokens=420, prefill_us=1000),
)


def main() -> int:
    """Search each engine's knee and print how far off it was found; the exit code."""
    print(f"{'places x time':>16} {'knee':>9} {'found':>9} {'error':>7} {'trials':>7} {'time':>7}")
    missed = False
    for engine in ENGINES:
        started = time.monotonic()
        outcome = search(engine, warmup_s=1, duration_s=max(4.0, 60 / engine.knee_per_s), precision=0.03)
        found = outcome.extra_metrics[CAPACITY] or 0.0
        error = found / engine.knee_per_s - 1
        missed |= abs(error) > BAR
        what = f"{engine.places} x {engine.service_ms} ms"
        print(
            f"{what:>16} {engine.knee_per_s:7.1f}/s {found:7.1f}/s {error:+7.1%} {len(outcome.trials):7} "
            f"{time.monotonic() - started:5.0f} s  {'missed' if abs(error) > BAR else 'met'} (within {BAR:.0%})"
        )
    return int(missed)


def search(engine: Engine, *, warmup_s: float, duration_s: float, precision: float, slack_ms: float = 60) -> ProfileRun:
    """Start the engine and search its knee: the highest rate whose TTFT p99 is at most `slack_ms` above that of an idle engine."""
    profile = Capacity(
        kind="capacity",
        arrivals="constant",
        start_rate_per_s=engine.start_rate_per_s,
        precision=precision,
        warmup_s=warmup_s,
        duration_s=duration_s,
        prompt_tokens=engine.prompt_tokens,
        output_tokens=engine.tokens,
        exact_output=True,
        objectives={
            "ttft_p99_ms": Objective(at_most=engine.ttft_ms + engine.prefill_ms + slack_ms),
            "error_rate": Objective(at_most=0),
        },
    )
    with _running(engine) as url, WorkerPool(1) as pool, tempfile.TemporaryDirectory() as folder:
        runner = Runner(pool, lambda _: OpenAITransport(url), LoadInputs(lambda _: None, Path(folder)))
        return runner.run(profile, 0, lambda line: print(f"  {line}", file=sys.stderr))


@contextmanager
def _running(engine: Engine) -> Iterator[str]:
    """Start the engine in a process of its own; yields the address of its OpenAI API."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as model:
        flags = {
            "--sim-ttft-ms": engine.ttft_ms,
            "--sim-itl-ms": engine.itl_ms,
            "--sim-max-running": engine.places,
            "--sim-ttft-per-prompt-token-us": engine.prefill_us,
            "--sim-cache-tokens": _CACHE_TOKENS if engine.prefill_us else 0,
            "--port": port,
        }
        words = [word for name, value in flags.items() for word in (name, str(value))]
        process = subprocess.Popen(
            [sys.executable, "-m", "container.engines.simulated", "--model-path", model, "--host", "127.0.0.1", *words],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            if "is ready" not in line:
                raise SystemExit(f"the engine did not start: {line}{process.stderr.read()}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
