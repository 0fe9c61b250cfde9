"""`python -m benchmarks.load_client`: what `python -m loadtest` sees, beside what a server knows that it sent.

The server (`server.py`) stamps every token with the moment at which it is sent, on the clock that all processes of a machine share, so a
client's error is received minus stamped, however late the server itself was. Ours on both its transports, as a user runs it, beside
aiperf, guidellm and llmeter, each in its own environment (made below build/benchmarks on first use: 7 GB, guidellm's torch most of it),
one after the other against the same server. CPU counts from a client's first request to the last token, children included: imports and
reports are nobody's. Prints the figures and the bars, met or missed; exit 1 on a miss.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load_client import observed
from benchmarks.load_client.observed import Observed
from benchmarks.load_client.ours import TRANSPORTS
from benchmarks.load_client.peers import Peer, install
from benchmarks.load_client.peers.aiperf import AIPerf
from benchmarks.load_client.peers.guidellm import GuideLLM
from benchmarks.load_client.peers.llmeter import LLMeter
from benchmarks.load_client.run import Cost, Level, StampingServer, run

ROOT = Path(__file__).parents[2]
PEERS: tuple[Peer, ...] = (AIPerf(), GuideLLM(), LLMeter())
ITL_MS = {1: 10, 32: 10, 128: 20, 256: 40}
STALL_MS, STALL_EVERY, STALL_STREAMS = 500, 1000, 32
_WARMUP_NS = 1_000_000_000
_ERROR_BARS = {32: {"p50": 0.3, "p99": 3.0}, 256: {"p99": 10.0}}
_CPU_SHARE = 0.5
# SigV4 needs credentials; these are AWS's documented examples.
_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}


@dataclass(frozen=True)
class ClientFigures:
    """One client at one level."""

    client: str
    cost: Cost
    error_ms: dict[str, float]
    seen: Observed


@dataclass
class BarResults:
    """What was promised, and whether it held."""

    missed: int = 0
    lines: list[str] = field(default_factory=list)

    def check(self, what: str, value: float, at_most: float, unit: str) -> None:
        """Note one bar."""
        met = value <= at_most
        self.missed += not met
        self.lines.append(f"  {'met   ' if met else 'MISSED'}  {what}: {value:.3g} {unit} (at most {at_most:.3g})")

    def check_that(self, what: str, met: bool) -> None:
        """Note one that is no number."""
        self.missed += not met
        self.lines.append(f"  {'met   ' if met else 'MISSED'}  {what}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_client", description=__doc__)
    parser.add_argument("--streams", type=int, nargs="*", choices=ITL_MS, default=list(ITL_MS), help="the levels (default: all)")
    parser.add_argument("--duration", type=float, default=8, help="of each client at each level; seconds (default 8)")
    parser.add_argument("--peers", nargs="*", choices=[peer.name for peer in PEERS], default=[peer.name for peer in PEERS])
    parser.add_argument("--no-stall", action="store_true", help="leave the run with the planted stall out")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / "build" / "benchmarks" / "load_client", help="the peers' environments"
    )
    given = parser.parse_args()
    peers = {peer: environment for peer in PEERS if peer.name in given.peers and (environment := _installed(peer, given.cache))}
    bars = BarResults()
    with _server() as truth, tempfile.TemporaryDirectory() as name:
        clients = _Clients(truth, Path(name), peers)
        for streams in given.streams:
            few = 2 if streams == 1 else 1  # one stream has few tokens: twice the time
            level = Level(streams, ITL_MS[streams], given.duration * few)
            _judge(bars, streams, clients.all_at(level))
        if not given.no_stall:
            _judge_stall(bars, clients.all_at(Level(STALL_STREAMS, ITL_MS[STALL_STREAMS], given.duration, STALL_MS, STALL_EVERY)))
    print("\nBars", *bars.lines, sep="\n")
    sys.exit(1 if bars.missed else 0)


def _installed(peer: Peer, cache: Path) -> Path | None:
    try:
        return install(peer.name, cache)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{peer.name} cannot be installed here and is left out: {error}")
        return None


@contextmanager
def _server() -> Iterator[StampingServer]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load_client.server"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        yield StampingServer(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()


@dataclass
class _Clients:
    """Everyone, run one after the other."""

    truth: StampingServer
    folder: Path
    peers: dict[Peer, Path]

    def all_at(self, level: Level) -> list[ClientFigures]:
        """Run everyone at one level, and print what was found."""
        planted = f", one token of {level.stall_every} late by {level.stall_ms:g} ms" if level.stall_every else ""
        print(f"\n{level.streams} streams, ITL {level.itl_ms:g} ms, 64 tokens each, {level.duration_s:g} s{planted}")
        print(f"  {'client':<16}{'tokens':>8}{'CPU µs/token':>14}{'(whole run)':>13}   client error ms: p50    p99    max  of")
        found = []
        for transport in TRANSPORTS:
            found.append(self._ours(transport, level))
            _show(found[-1])
        for peer, environment in self.peers.items():
            try:
                found.append(self._peer(peer, environment, level))
                _show(found[-1])
            except RuntimeError as error:
                print(f"  {peer.name} FAILED: {error}")
        late = [one.cost for one in found]
        worst = max(late, key=lambda cost: cost.server_late_p99_ms)
        print(
            f"  the server's own lateness: p50 {worst.server_late_p50_ms:.2f} ms, p99 {worst.server_late_p99_ms:.2f} ms at worst"
        )
        return found

    def _ours(self, transport: str, level: Level) -> ClientFigures:
        """Run `python -m loadtest` for its CPU, and again with every answer's text kept for its errors."""
        file, environment = (
            self.folder / "ours.json",
            {**_ENVIRONMENT, "PYTHONPATH": str(ROOT), "AWS_ENDPOINT_URL": self.truth.url},
        )
        cost = run(_command(transport, self.truth.url, level), self.folder, environment, self.truth, level)
        options = ["--streams", str(level.streams), "--duration", f"{level.duration_s:g}", "--output", str(file)]
        recording = [sys.executable, "-m", "benchmarks.load_client.ours", self.truth.url, transport, *options]
        run(recording, self.folder, environment, self.truth, level)
        seen = observed.read(file)
        return ClientFigures(f"ours, {transport}", cost, seen.error_ms(_WARMUP_NS), seen)

    def _peer(self, peer: Peer, environment: Path, level: Level) -> ClientFigures:
        command = peer.command(environment, self.truth.url, level, self.folder)
        cost = run(command, self.folder, {}, self.truth, level)
        if recording := peer.recording(command):
            run(recording, self.folder, {}, self.truth, level)
        seen = peer.observed(self.folder)
        return ClientFigures(peer.name, cost, seen.error_ms(_WARMUP_NS), seen)


def _command(transport: str, url: str, level: Level) -> list[str]:
    """Return the command as a user has it; a bound that nothing can miss, since the server is judged elsewhere."""
    profile = {
        "kind": "closed_loop",
        "concurrency": level.streams,
        "prompt_tokens": 32,
        "output_tokens": 64,
        "warmup_s": 0,
        "duration_s": level.duration_s,
        "objectives": {"error_rate": {"at_most": 0}},
    }
    server = {
        "openai": ["--url", url, "--model", "known-truth"],
        "sagemaker": ["--endpoint", "known-truth", "--region", "us-east-1"],
    }
    given = [*server[transport], "--profile", json.dumps(profile), "--json", "--quiet", "--lag-at-most-ms", "60000"]
    return [sys.executable, "-m", "loadtest", *given]


def _show(found: ClientFigures) -> None:
    cost, error = found.cost, found.error_ms
    errors = "".join(f"{error.get(name, math.nan):>7.2f}" for name in ("p50", "p99", "max"))
    print(
        f"  {found.client:<16}{cost.tokens:>8}{cost.us_per_token:>14.1f}{cost.whole_cpu_s / cost.tokens * 1e6:>13.1f}"
        f"                   {errors}  {found.seen.what}",
        flush=True,
    )


def _is_ours(found: ClientFigures) -> bool:
    return found.client.startswith("ours")


def _judge(bars: BarResults, streams: int, found: list[ClientFigures]) -> None:
    for one in filter(_is_ours, found):
        for name, bound in _ERROR_BARS.get(streams, {}).items():
            bars.check(f"{one.client}, {streams} streams: client error {name}", one.error_ms[name], bound, "ms")
    peers = [one for one in found if not _is_ours(one)]
    if not peers:
        bars.lines.append(f"  ------  {streams} streams: CPU per token: no peer ran")
        return
    best = min(peers, key=lambda one: one.cost.us_per_token)
    for one in filter(_is_ours, found):
        share = one.cost.us_per_token / best.cost.us_per_token
        bars.check(
            f"{one.client}, {streams} streams: CPU per token, of {best.client}'s, the best peer's", share, _CPU_SHARE, "times"
        )


def _judge_stall(bars: BarResults, found: list[ClientFigures]) -> None:
    print("  the ITL that each reports:")
    for one in found:
        print(f"  {one.client:<16}" + ", ".join(f"{name} {value:.1f} ms" for name, value in one.seen.itl.items()))
    for one in filter(_is_ours, found):
        shown, mean = one.seen.itl["p999"], one.seen.itl["p999 of means"]
        bars.check_that(f"{one.client}: the stall of {STALL_MS} ms shows in ITL p99.9 ({shown:.0f} ms)", shown >= 0.9 * STALL_MS)
        bars.check_that(f"{one.client}: in a per-request mean it does not (p99.9 {mean:.1f} ms)", mean < STALL_MS / 2)


if __name__ == "__main__":
    main()
