"""`python -m benchmarks.fetch`: 2 GiB in 4 shards from a loopback Hub to an S3 that discards, ours beside the public ways.

Prints wall clock, CPU seconds, peak memory and bytes on disk of each, uncapped and with both legs capped, what this machine could do at best,
and ours with a model four times as large. Then every bar, met or missed: exit code 1 when one is missed. `--gib 8 --only ours` is ours alone
with 8 GiB in 4 shards.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen
from urllib.request import urlopen

from benchmarks.fetch import model
from benchmarks.fetch.bars import OURS, bars
from benchmarks.fetch.measure import Measured, run
from benchmarks.fetch.peers import PEERS
from tests.support.worlds import fetching

ROOT = Path(__file__).parents[2]
REPOSITORY, LARGER = "bench/model", "bench/larger"
TIMES_LARGER = 4
AGAIN = "ours, all there already"
BARE = "bare copy, nothing checked"


def main() -> None:
    """Run the benchmark and print its figures beside their bars; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fetch", description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0, help="size of the model, GiB (default 2)")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument(
        "--cap",
        type=float,
        default=100e6,
        help="bytes a second of each leg in the capped run (default 100 MB/s); 0: no capped run",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run uncapped; the median counts")
    parser.add_argument("--only", nargs="*", choices=[OURS, *PEERS], default=[OURS, *PEERS])
    parser.add_argument("--folder", type=Path, help="where the model and the peers' downloads go (default: a temporary folder)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        total = model.write(folder / "hub" / REPOSITORY, int(given.gib * 1024**3), given.shards)
        print(f"{total / 1e9:.2f} GB in {given.shards} shards, {os.cpu_count()} cores; Hub and S3 sink share them\n")
        uncapped = _table("uncapped", folder, [*given.only, BARE], None, given.rounds, total)
        _print_limit(uncapped, total)
        capped: Mapping[str, Measured] = {}
        if given.cap:
            title = f"each leg capped at {given.cap / 1e6:.0f} MB/s, ideally {total / given.cap:.1f} s"
            capped = _table(title, folder, given.only, given.cap, 1, total)
        larger = _larger(folder, given.shards) if given.only != [OURS] else None
        found = bars(uncapped, capped, larger, _memory_bytes())
    print("bars")
    for bar in found:
        print(bar)
    if not all(bar.is_met for bar in found):
        sys.exit(1)


def _memory_bytes() -> int:
    return int(fetching.release(REPOSITORY).model.weights.memory_bytes)


def _larger(folder: Path, shards: int) -> Measured | None:
    """Ours with a model that is larger."""
    count = shards * TIMES_LARGER
    total = model.link(folder / "hub" / LARGER, folder / "hub" / REPOSITORY, count)
    return _table(f"{total / 1e9:.2f} GB in {count} shards", folder, [OURS], None, 1, total, LARGER)[OURS]


def _table(
    title: str, folder: Path, names: Sequence[str], rate: float | None, rounds: int, total: int, repository: str = REPOSITORY
) -> Mapping[str, Measured]:
    """Run each of `names`, print what they took and return it."""
    runs: dict[str, list[Measured]] = {}
    for _ in range(rounds):
        for name in names:  # turn and turn about: a machine's mood hits all alike
            for row, measured in _one(name, folder, rate, repository).items():
                runs.setdefault(row, []).append(measured)
    middle = {row: Measured.middle(found) for row, found in runs.items()}
    print(f"{title} (median of {rounds})")
    print(
        f"  {'':26} {'wall s':>8} {'MB/s':>7} {'CPU s':>7} {'servers':>8} {'RSS MB':>8} {'disk MB':>9} {'wall x':>7} {'CPU x':>7}"
    )
    for row, m in middle.items():
        ours = middle.get(OURS, m)
        speed = f"{total / m.wall_s / 1e6:7.0f}" if row != AGAIN else f"{'':7}"
        print(
            f"  {row:26} {m.wall_s:8.2f} {speed} {m.cpu_s:7.2f} {m.servers_cpu_s:8.2f} {m.peak_rss_bytes / 1e6:8.0f} {m.disk_bytes / 1e6:9.0f} "
            f"{m.wall_s / ours.wall_s:7.2f} {m.cpu_s / ours.cpu_s:7.2f}"
        )
    print(flush=True)
    return middle


def _print_limit(runs: Mapping[str, Measured], total: int) -> None:
    """Print what anything that compares SHA-256 needs on this machine, beside what ours needed."""
    if OURS not in runs:
        return
    ours, again, bare = runs[OURS], runs[AGAIN], runs[BARE]
    hashing_s = total / _sha256_speed()
    moving_s = bare.cpu_s + bare.servers_cpu_s
    cores = os.cpu_count() or 1
    limit_s = again.wall_s + (hashing_s + moving_s) / cores
    hashing = f"{hashing_s:.2f} CPU-s of SHA-256 ({total / hashing_s / 1e6:.0f} MB/s a core)"
    print(
        f"the limit here: {hashing} and {moving_s:.2f} CPU-s of loopback (the bare copy and its servers) on {cores} cores,\n"
        f"after {again.wall_s:.2f} s of starting and asking (ours with nothing to move): {limit_s:.2f} s. "
        f"Ours took {ours.wall_s:.2f} s, {ours.wall_s / limit_s:.2f} times that.\n",
        flush=True,
    )


def _sha256_speed() -> float:
    """Bytes a second that one core hashes at best."""
    block = memoryview(os.urandom(16 * model.MIB))
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        hashlib.sha256(block)
        best = min(best, time.perf_counter() - started)
    return len(block) / best


def _one(name: str, folder: Path, rate: float | None, repository: str) -> dict[str, Measured]:
    """Run one between a Hub and a sink of its own; ours a second time, when all is there already."""
    cap = ["--rate", str(rate)] if rate else []
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    with (
        _server([sys.executable, "-m", "local_hub", "--root", str(folder / "hub"), *cap]) as (hub, hub_id),
        _server([sys.executable, "-m", "benchmarks.fetch.sink", *cap]) as (s3, s3_id),
    ):
        command = _command(name, folder, hub, repository)
        environment = _environment(hub, s3, work)
        found = {name: run(command, environment, work, [hub_id, s3_id])}
        if name == OURS and not rate and repository == REPOSITORY:
            found[AGAIN] = run(command, environment, work, [hub_id, s3_id])
    shutil.rmtree(work)
    with suppress(PermissionError):
        os.sync()  # one's dirty pages must not be the next one's burden
    return found


def _command(name: str, folder: Path, hub: str, repository: str) -> list[str]:
    with urlopen(f"{hub}/api/models/{repository}") as answer:
        revision = str(json.load(answer)["sha"])
    python = [sys.executable, "-m"]
    if name == BARE:
        return [*python, "benchmarks.fetch.bare", repository, revision, fetching.BUCKET]
    if name != OURS:
        return [*python, "benchmarks.fetch.peers", name, repository, revision, fetching.BUCKET, str(folder / "work")]
    release, output = folder / "release.json", folder / "output"
    release.write_text(fetching.release(repository, revision).to_json(), encoding="utf-8")
    given = ["--release", str(release), "--hub-endpoint", hub, "--execution", "bench", "--output", str(output)]
    return [*python, "steps.fetch_weights", *given]


def _environment(hub: str, s3: str, work: Path) -> dict[str, str]:
    return {
        **fetching.step_environment(s3),
        "PYTHONPATH": str(ROOT),
        "HOME": str(work),
        "TMPDIR": str(work),
        "HF_HOME": str(work / "hf"),
        "HF_ENDPOINT": hub,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def _server(command: list[str]) -> Iterator[tuple[str, int]]:
    """Start a server that says `NAME=URL` when it is ready; yield its URL and its process id."""
    process = Popen(command, cwd=ROOT, stdout=PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().split("=", 1)[1], process.pid
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
