"""A status as a person reads it in a terminal: one model in full, or one line a model."""

from __future__ import annotations

import sys

from rich.table import Table
from rich.text import Text

from pipelines.console import Console
from pipelines.next_command import command
from pipelines.status.statuses import ModelStatus, ProductionStatus

_APPROVALS = {"Approved": "green", "Rejected": "red", "PendingManualApproval": "yellow"}
_ALARMS = {"OK": "green", "ALARM": "bold red", "INSUFFICIENT_DATA": "dim"}
_PLAIN_WIDTH = 180


def _console() -> Console:
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)


def show_all(found: list[ModelStatus]) -> None:
    """Print a table, one line a model."""
    table = _table("model", "production", "endpoint", "newest version", "waiting", "under way", "drift")
    for each in found:
        newest = each.versions[0] if each.versions else None
        table.add_row(
            each.model,
            Text("not known: see status " + each.model, style="bold red")
            if each.production_refused
            else _serves(each.production),
            Text(f"{each.production.endpoint} {each.production.status}" if each.production else "-"),
            f"{newest.version} {newest.approval_status}" if newest else "-",
            ", ".join(map(str, each.pending)) or "-",
            str(len(each.executions) or "-"),
            Text(f"{len(each.drift)}: see status {each.model}", style="bold red") if each.drift else "-",
        )
    _console().print(table)


def show_model(found: ModelStatus, env: str) -> None:
    """Print one model in full. `env` is the environment as it was given to the command."""
    console = _console()
    _production(console, found)
    for line in found.drift:
        console.print(Text(f"drift: {line}", style="bold red"))
    for line in found.unfinished:
        console.print(Text(f"unfinished: {line}", style="bold red"))
    if found.lease:
        console.print(Text(f"lease: {found.lease.execution} ({found.lease.owner}) until {found.lease.expires_at} or longer"))
    for execution in found.executions:
        console.print(Text(f"under way: {execution.pipeline}, {execution.status} since {execution.started}: {execution.arn}"))
    for staging in found.staging:
        expiry = f", expires at {staging.expires_at}" if staging.expires_at else ", without an expiry"
        console.print(Text(f"staging: {staging.endpoint} {staging.status}{expiry}"))
    _versions(console, found, env)


def _versions(console: Console, found: ModelStatus, env: str) -> None:
    """Print the versions, and what waits for a person."""
    if not found.versions:
        console.print("registry: no version")
        return
    table = _table("version", "approval", "gate", "weights", "registered (UTC)")
    for version in found.versions:
        approval = Text(version.approval_status, style=_APPROVALS.get(version.approval_status, ""))
        when = version.created.replace("T", " ").removesuffix("+00:00")
        table.add_row(str(version.version), approval, version.verdict or "-", Text(version.revision), when)
    console.print(table)
    for number in found.pending:
        to_approve = command(env, "approve", found.model, number, "--comment", "WHY")
        console.print(f"waiting: {to_approve}   (or reject)", markup=False)
    for version in found.versions:
        if version.waits_for_evaluation:
            to_evaluate = command(env, "evaluate", found.model, version.version)
            console.print(f"undecided: {to_evaluate}   (measures it again; or reject)", markup=False)


def _production(console: Console, found: ModelStatus) -> None:
    production = found.production
    if found.production_refused:
        console.print(Text(f"production: not known: {found.production_refused}", style="bold red"))
        console.print(
            f"  by the ledger it serves {'nothing' if found.ledger_version is None else f'version {found.ledger_version}'}"
        )
        return
    if production is None:
        console.print(f"{found.model}: never in production")
        return
    if found.retired:
        console.print(Text(f"production: {production.endpoint} is {found.retired}"))
        if production.status == "absent":
            return
    console.print(
        Text(
            f"production: {production.endpoint} {production.status} in account {production.account_id}, serves {_serves(production)}"
        )
    )
    for variant in production.variants:
        console.print(
            Text(f"  {variant.name}: {variant.instances} of {variant.desired_instances} instances, weight {variant.weight:g}")
        )
    for name, state in production.alarms.items():
        console.print(Text.assemble("  alarm ", name, " ", (state, _ALARMS.get(state, "bold red"))))


def _serves(production: ProductionStatus | None) -> str:
    if production is None or production.status == "absent":
        return "-"
    return f"version {production.version}" if production.version is not None else "what this project did not make"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
