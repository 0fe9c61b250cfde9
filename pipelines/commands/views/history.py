"""`history`: the audit trail of a model: its ledger, the hash chain verified, as a table or as JSON."""

from __future__ import annotations

import json
import sys

from rich.table import Table
from rich.text import Text

from delivery.history.ledger import Event
from pipelines.console import Console
from pipelines.released_model import open_model

_MARKS = {
    "fetched": "cyan",
    "registered": "cyan",
    "evaluated": "cyan",
    "approved": "green",
    "changing": "cyan",
    "promoted": "bold green",
    "settled": "green",
    "rejected": "red",
    "refused": "red",
    "rolled_back": "bold yellow",
    "retired": "bold yellow",
}
_SHOWN_DETAILS = (
    "comment",
    "reason",
    "summary",
    "verdict",
    "despite",
    "action",
    "intent",
    "endpoint",
    "previous_version",
    "from_version",
    "unfinished",
)
"""The details that say something to a person, in the order in which they are shown; `--json` has all."""


def history(name: str, env: str, *, as_json: bool) -> None:
    """Print what happened to a model's versions. LedgerBroken, naming the first bad event, when the chain does not hold."""
    model = open_model(name, env)
    events = model.ledger.audit()
    if as_json:
        shown = [event.model_dump(mode="json") for event in events]
        print(json.dumps({"model": model.name, "chain": "intact", "events": shown}))
    else:
        _show(model.name, events)


def _show(model: str, events: list[Event]) -> None:
    """Print the events as a table, oldest first."""
    if not events:
        print(f"{model}: nothing has happened yet")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("#", "when (UTC)", "what", "version", "by", "details"):
        table.add_column(column, overflow="fold", no_wrap=column in {"#", "when (UTC)", "what"})
    for event in events:
        version = "" if event.version is None else str(event.version)
        when = event.at.replace("T", " ").split(".", 1)[0].removesuffix("+00:00")
        what = Text(event.kind, style=_MARKS[event.kind])
        table.add_row(str(event.sequence), when, what, version, Text(_shorten(event.by)), Text(_details(event)))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 180)
    console.print(table)
    console.print(f"[dim]{len(events)} event{'s' if len(events) > 1 else ''}; the chain is intact[/]")


def _details(event: Event) -> str:
    found = [(name, event.details[name]) for name in _SHOWN_DETAILS if event.details.get(name) not in (None, "")]
    return ", ".join(
        str(value) if name in {"comment", "reason", "summary"} else f"{name.replace('_', ' ')} {value}" for name, value in found
    )


def _shorten(by: str) -> str:
    """Cut from an ARN what is the same for all of them."""
    return by.split(":", 5)[5] if by.startswith("arn:") and by.count(":") >= 5 else by
