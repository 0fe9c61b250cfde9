"""Measure, and print each figure beside its bar: ``python -m benchmarks.sagemaker_local [--json]``. Exits with 1 when one is missed."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.sagemaker_local import cold_start, gateway, pipelines
from sagemaker_local.testing import running

GROWTH_BAR_MIB = 2.0
"""What counts as no growth: less than two kilobytes an execution, which is what the allocator's pages come and go by."""


@dataclass(frozen=True)
class Figure:
    """One measured value and what it must be below."""

    name: str
    value: float
    bar: float
    unit: str
    remark: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is below its bar (or at it, where that is 0)."""
        return self.value < self.bar or self.value == self.bar == 0

    def line(self) -> str:
        """For a person."""
        bar = f"< {self.bar:g}" if self.bar else "  0"
        return f"{'ok    ' if self.holds else 'MISSED'}  {self.name:<52} {self.value:8.2f} {self.unit:<5} bar {bar:<6} {self.remark}".rstrip()


def measured(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Return all figures."""
    figures: list[Figure] = []
    if "start" in options.only:
        cold = cold_start.measure(folder, 3)
        figures += [
            Figure("cold import of the server", cold.import_s, 2, "s"),
            Figure("cold start until it answers", cold.start_s, 2, "s"),
        ]
    images = folder / "images.yaml"
    images.write_text(json.dumps({"images": [pipelines.IMAGE_ENTRY, gateway.IMAGE_ENTRY]}))  # JSON is YAML
    if "gateway" in options.only:
        with running(folder / "gateway", images) as server:
            for found in gateway.measure(server, options.streams, options.events, options.gap_ms / 1000):
                remark = f"direct {found.direct_p50:.2f}/{found.direct_p99:.2f}, through {found.through_p50:.2f}/{found.through_p99:.2f}"
                name = f"gateway, {options.streams} streams, {found.way}"
                figures += [Figure(f"{name}: p50", found.p50, 1, "ms", remark), Figure(f"{name}: p99", found.p99, 5, "ms")]
    with running(folder / "pipelines", images) as server:
        if "latency" in options.only:
            latency = pipelines.latency(server, options.repeats)
            figures += [
                Figure("execution start: p50", latency.start_p50, 300, "ms", f"max {latency.start_max:.0f}"),
                Figure("overhead of a step that does nothing: p50", latency.step_p50, 150, "ms", f"max {latency.step_max:.0f}"),
            ]
        if "growth" in options.only:
            growth = pipelines.growth(server, options.executions, options.workers)
            memory = " → ".join(f"{usage.rss_mib:.1f}" for usage in growth.usage)
            files = " → ".join(f"{usage.open_files}" for usage in growth.usage)
            last = f"over the last {options.executions - growth.usage[0].executions} of {options.executions} executions"
            figures += [
                Figure(
                    f"growth of memory {last}", growth.mib, GROWTH_BAR_MIB, "MiB", f"{memory}; {growth.executions_per_s:.1f}/s"
                ),
                Figure(f"growth of open files {last}", max(0, growth.files), 0, "", files),
            ]
    return figures


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sagemaker_local", description=__doc__)
    parts = ["start", "gateway", "latency", "growth"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="these parts (default: all)")
    parser.add_argument("--executions", type=int, default=1000, help="of three steps, for growth")
    parser.add_argument("--workers", type=int, default=4, help="executions at once, for growth")
    parser.add_argument("--repeats", type=int, default=10, help="of a chain of ten steps, for latency")
    parser.add_argument("--streams", type=int, default=64, help="at once, through the gateway")
    parser.add_argument("--events", type=int, default=200, help="of each stream")
    parser.add_argument("--gap-ms", type=float, default=30, help="between two events of a stream")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        figures = measured(options, Path(folder))
    if options.json:
        print(json.dumps([{**asdict(figure), "holds": figure.holds} for figure in figures], indent=2))
    else:
        print("\n".join(figure.line() for figure in figures))
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
