"""An execution at a terminal: one live line a step; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TextIO

from rich.live import Live
from rich.table import Table

from pipelines.console import Console
from pipelines.executions.execution import ExecutionView, StepView

_MARKS = {
    "Succeeded": ("✔", "green"),
    "Failed": ("✘", "red"),
    "Executing": ("●", "cyan"),
    "Starting": ("●", "cyan"),
    "Stopping": ("●", "yellow"),
    "Stopped": ("■", "yellow"),
}
_PLAIN_INTERVAL_S = 10.0


def follow(views: Iterable[ExecutionView], expected: list[str], stream: TextIO = sys.stdout) -> ExecutionView:
    """Show the execution until it is over; return how it ended. `expected` are the steps shown before they start."""
    console = Console(file=stream)
    if console.is_terminal:
        return _live(views, expected, console)
    return _plain(views, stream)


def _live(views: Iterable[ExecutionView], expected: list[str], console: Console) -> ExecutionView:
    last: ExecutionView | None = None
    with Live(console=console, refresh_per_second=4) as live:
        for last in views:
            live.update(_table(last, expected))
    return _required(last)


def _table(view: ExecutionView, expected: list[str]) -> Table:
    table = Table.grid(padding=(0, 2))
    started = {step.name for step in view.steps}
    for step in view.steps:
        mark, colour = _MARKS.get(step.status, ("?", "white"))
        table.add_row(f"[{colour}]{mark}[/]", step.name, _seconds(step.elapsed_s), f"[dim]{step.detail}[/]")
    if not view.is_over:
        for name in expected:
            if name not in started:
                table.add_row("[dim]·[/]", f"[dim]{name}[/]", "", "")
    return table


def _plain(views: Iterable[ExecutionView], stream: TextIO) -> ExecutionView:
    """Print a line when a step starts or ends, and every ten seconds what it says of itself."""
    shown: dict[str, tuple[str, float]] = {}
    last: ExecutionView | None = None
    for last in views:
        for step in last.steps:
            status, when = shown.get(step.name, ("", 0.0))
            due = step.status == "Executing" and step.detail and time.monotonic() - when > _PLAIN_INTERVAL_S
            if step.status != status or due:
                shown[step.name] = (step.status, time.monotonic())
                print(_line(step), file=stream, flush=True)
    return _required(last)


def _line(step: StepView) -> str:
    mark, _ = _MARKS.get(step.status, ("?", ""))
    return f"{mark} {step.name:<16} {step.status:<10} {_seconds(step.elapsed_s):>8}  {step.detail}".rstrip()


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"


def _required(view: ExecutionView | None) -> ExecutionView:
    if view is None:
        raise ValueError("an execution has at least one view")
    return view
