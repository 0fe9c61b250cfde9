"""`python -m benchmarks.fetch`: 2 GiB in 4 shards from a loopback Hub to an S3 that discards, ours beside the public ways.

Prints wall clock, CPU seconds, peak memory and bytes on disk of each, uncapped and with both legs capped, and what this machine could do at
best. `--gib 8 --only ours` shows that memory does not grow with the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.fetch.measure import Measured, run
from benchmarks.fetch.peers import PEERS
from benchmarks.fetch.release import BUCKET, write_release

ROOT = Path(__file__).parents[2]
REPOSITORY = "bench/model"
OURS = "ours"
MIB = 1024**2


def main() -> None:
    """The command."""
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
        total = _make_model(folder / "hub" / REPOSITORY, int(given.gib * 1024**3), given.shards)
        print(f"{total / 1e9:.2f} GB in {given.shards} shards, {os.cpu_count()} cores; Hub and S3 sink share them\n")
        _limits(total)
        _table("uncapped", folder, given.only, None, given.rounds, total)
        if given.cap:
            print(f"ideal with each leg at {given.cap / 1e6:.0f} MB/s: {total / given.cap:.1f} s")
            _table(f"each leg capped at {given.cap / 1e6:.0f} MB/s", folder, given.only, given.cap, 1, total)


def _make_model(folder: Path, size: int, shards: int) -> int:
    """Write the repository: random bytes, four megabytes of them repeated (nothing here compresses or deduplicates)."""
    folder.mkdir(parents=True)
    names = [f"model-{n:05}-of-{shards:05}.safetensors" for n in range(1, shards + 1)]
    block = os.urandom(4 * MIB)
    for number, name in enumerate(names):
        with (folder / name).open("wb") as file:
            left = size // shards
            while left:
                left -= file.write(block[: min(left, len(block))])
            file.seek(0)
            file.write(number.to_bytes(8, "big"))
    index = {"metadata": {}, "weight_map": {f"layer.{n}": name for n, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    return sum(path.stat().st_size for path in folder.iterdir())


def _limits(total: int) -> None:
    """What one core of this machine hashes: the floor under anything that verifies."""
    block = memoryview(os.urandom(16 * MIB))
    speeds = []
    for _ in range(8):
        started = time.perf_counter()
        hashlib.sha256(block)
        speeds.append(len(block) / (time.perf_counter() - started))
    best, cores = max(speeds), os.cpu_count() or 1
    print(
        f"SHA-256 on one core: {best / 1e6:.0f} MB/s, so {total / best:.1f} CPU-s of hashing, {total / best / cores:.1f} s on all cores\n"
    )


def _table(title: str, folder: Path, names: Sequence[str], rate: float | None, rounds: int, total: int) -> None:
    results: dict[str, list[Measured]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:  # turn and turn about: a machine's mood hits all alike
            results[name].append(_one(name, folder, rate))
    print(f"{title} (median of {rounds})")
    print(f"  {'':26} {'wall s':>8} {'MB/s':>7} {'CPU s':>7} {'RSS MB':>8} {'disk MB':>9} {'wall x':>7} {'CPU x':>7}")
    middle = {name: _median(runs) for name, runs in results.items()}
    for name, m in middle.items():
        ours = middle.get(OURS, m)
        print(
            f"  {name:26} {m.wall_s:8.2f} {total / m.wall_s / 1e6:7.0f} {m.cpu_s:7.2f} {m.peak_rss_bytes / 1e6:8.0f} {m.disk_bytes / 1e6:9.0f} "
            f"{m.wall_s / ours.wall_s:7.2f} {m.cpu_s / ours.cpu_s:7.2f}"
        )
    print(flush=True)


def _median(runs: list[Measured]) -> Measured:
    return Measured(
        statistics.median(m.wall_s for m in runs),
        statistics.median(m.cpu_s for m in runs),
        max(m.peak_rss_bytes for m in runs),
        max(m.disk_bytes for m in runs),
    )


def _one(name: str, folder: Path, rate: float | None) -> Measured:
    cap = ["--rate", str(rate)] if rate else []
    work = folder / f"work-{name}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    with (
        _server([sys.executable, "-m", "local_hub", "--root", str(folder / "hub"), *cap]) as hub,
        _server([sys.executable, "-m", "benchmarks.fetch.sink", *cap]) as s3,
    ):
        environment = _environment(hub, s3, work)
        revision = _revision(hub)
        if name == OURS:
            write_release(folder / "release.json", REPOSITORY, revision)
            command = [
                sys.executable,
                "-m",
                "steps.fetch_weights",
                "--release",
                str(folder / "release.json"),
                "--hub-endpoint",
                hub,
            ]
            command += ["--execution", "bench", "--output", str(folder / "output")]
        else:
            command = [sys.executable, "-m", "benchmarks.fetch.peers", name, REPOSITORY, revision, BUCKET, str(work)]
        measured = run(command, environment, work)
    shutil.rmtree(work)
    with suppress(PermissionError):
        os.sync()  # one's dirty pages must not be the next one's burden
    return measured


def _revision(hub: str) -> str:
    from urllib.request import urlopen

    with urlopen(f"{hub}/api/models/{REPOSITORY}") as answer:
        return str(json.load(answer)["sha"])


def _environment(hub: str, s3: str, work: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(work),
        "TMPDIR": str(work),
        "HF_HOME": str(work / "hf"),
        "HF_ENDPOINT": hub,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def _server(command: list[str]) -> Iterator[str]:
    """A server that says `NAME=URL` when it is ready; gives the URL."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().split("=", 1)[1]
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
