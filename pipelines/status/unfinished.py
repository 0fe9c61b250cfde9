"""What a change of production left undone, by the ledger and the endpoint: the next run of the command that is named does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from delivery.history import changes, serving_history
from delivery.history.ledger import Event
from pipelines.next_command import command
from pipelines.status.statuses import ProductionStatus, VersionStatus


def find_unfinished(
    events: list[Event], production: ProductionStatus | None, versions: Iterable[VersionStatus], model: str, env: str
) -> Iterator[str]:
    """Yield a sentence for each thing that was begun and not done. Only while nobody works on the endpoint is it true.

    Args:
        events: The model's ledger.
        production: The endpoint as it is; None where it is not known.
        versions: The newest versions, as the registry has them.
        model: The model's name, for the commands.
        env: The environment as it was given to the command.

    >>> begun = Event(sequence=1, at="noon", kind="changing", version=2, by="e1", details={"intent": "promotion", "to": "b"})
    >>> [left] = find_unfinished([begun], ProductionStatus("chat", "111122223333", "InService", 2, "b"), [], "chat", "local")
    >>> left
    'the promotion of version 2, begun at noon by e1, was ended half-way, and production serves it: python -m pipelines.run approve chat 2'
    """
    change = changes.open_change(events, production.config if production is not None else None)
    if change is not None and production is not None:
        yield from _half_way(change, production, model, env)
    now = serving_history.serving_now(events)
    for left in changes.unfinished(events):
        verb = ("rollback", model, "--to") if now is not None and now.kind == "rolled_back" else ("approve", model)
        yield f"{left}: {command(env, *verb, now.version if now else '')}"
    approved = {version.version for version in versions if version.approval_status == "Approved"}
    for event in changes.rejections_due(events):
        version = event.details["previous_version"]
        if version in approved:
            yield f"version {version} was taken out of production at {event.at}, but is Approved: {command(env, 'reject', model, version)}"


def _half_way(change: Event, production: ProductionStatus, model: str, env: str) -> Iterator[str]:
    intent, to = change.details["intent"], change.details["to"]
    what = f"the {intent} of version {change.version}, begun at {change.at} by {change.by}, was ended half-way"
    if intent == "retirement" and production.config != change.details["from"]:
        yield f"{what}, and the endpoint is {production.status}: {command(env, 'retire', model, '--comment', 'WHY')}"
    elif to is not None and production.config == to:
        again = ("rollback", model, "--to") if intent == "rollback" else ("approve", model)
        yield f"{what}, and production serves it: {command(env, *again, change.version)}"
