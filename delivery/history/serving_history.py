"""The serving history: the lineage of what production served, out of the ledger, and which version a rollback returns to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import JsonValue, ValidationError

from config.base import Strict
from config.production import Autoscaling
from delivery.errors import InputError
from delivery.history.ledger import Event


class DeployedVersion(Strict):
    """What a promotion or a rollback left in production: enough to know it again, and to serve it again when the registry forgot it.

    It stands in such an event's details, under `deployment`.
    """

    endpoint: str
    """The production endpoint."""
    config: str
    """The endpoint config that it serves."""
    instance_type: str
    """On what."""
    instance_count: int
    """On how many."""
    instance_bounds: tuple[int, int] | None = None
    """With autoscaling, how few and how many it may become."""
    autoscaling: Autoscaling | None = None
    """All of its autoscaling, as the model file said."""
    container: dict[str, JsonValue]
    """What it runs, as the version's InferenceSpecification says: Image, Environment, ModelDataSource."""
    facts: dict[str, str]
    """The version's CustomerMetadataProperties: the release file, the weights, the evaluation."""

    @classmethod
    def of(cls, event: Event) -> Self:
        """Read what the event left; InputError when it does not say."""
        try:
            return cls.model_validate(event.details.get("deployment"), strict=False)
        except ValidationError as error:
            raise InputError(
                f"the ledger's event {event.sequence} ({event.kind}) does not say what it left in production: {error}"
            ) from error


def deployment_of(events: Iterable[Event], config: str | None) -> DeployedVersion | None:
    """Return what the last promotion or rollback to an endpoint config left in production.

    Args:
        events: The ledger's, oldest first.
        config: The endpoint config's name.

    Returns:
        What was deployed; None when the ledger knows of none.

    Raises:
        InputError: The event does not say.
    """
    for event in reversed(list(events)):
        left = event.details.get("deployment")
        if event.kind in ("promoted", "rolled_back") and isinstance(left, dict) and left.get("config") == config:
            return DeployedVersion.of(event)
    return None


def serving_lineage(events: Iterable[Event]) -> list[Event]:
    """Return the lineage of production: the events that brought what it serves now and what it can return to, oldest first.

    A promotion adds one. A rollback takes away what it left, so that the next one goes further back, and not forward again: after 3, 4, 5
    and a rollback to 4 it returns to 3.

    Args:
        events: The ledger's, oldest first.

    A retirement takes all of it away: nothing is served, and there is nothing to go back to unless it is named.

    Returns:
        One event a version; none when production never served anything, or was taken out of service.

    Example:
        >>> def event(kind, version):
        ...     return Event(sequence=1, at="", kind=kind, version=version, by="me")
        >>> ledger = [event("promoted", 3), event("promoted", 4), event("promoted", 5), event("rolled_back", 4)]
        >>> [event.version for event in serving_lineage(ledger)]
        [3, 4]
    """
    found: list[Event] = []
    for event in events:
        if event.kind == "retired":
            found = []
        elif event.kind == "promoted":
            found = [*(before for before in found if before.version != event.version), event]
        elif event.kind == "rolled_back":
            earlier = next((place for place, before in enumerate(found) if before.version == event.version), None)
            found = [*found[:earlier], event] if earlier is not None else [*found[:-1], event]
    return found


def serving_now(events: Iterable[Event]) -> Event | None:
    """Return the event that brought what production serves now, by the ledger; None when it serves nothing."""
    served = serving_lineage(events)
    return served[-1] if served else None


def version_now(events: Iterable[Event]) -> int | None:
    """Return the version that production serves as far as the ledger knows; None when it serves none."""
    now = serving_now(events)
    return now.version if now else None


def returning_to(events: Iterable[Event], version: int | None, serving: int | None = None) -> Event:
    """Return the event that brought the version to return to into production.

    Args:
        events: The ledger's, oldest first.
        version: Which one to return to; None: the one before the last.
        serving: The version that the endpoint serves, or is being given, where that is known. Is it newer than the ledger's last one, its
            promotion was ended before it was done: the last one is then what to return to.

    Returns:
        The event.

    Raises:
        InputError: There is none; the message says what there is to return to.
    """
    events = list(events)
    served = serving_lineage(events)
    if not served:
        return _brought(events, version)
    last = served[-1].version or 0
    earlier = served[:-1]
    if serving is not None and serving > last:
        earlier, last = served, serving
    if version is None:
        if not earlier:
            raise InputError(
                f"production never served another version than {last}: there is nothing to return to; --to names one, and retire takes it "
                "out of service"
            )
        return earlier[-1]
    if version == last:
        raise InputError(f"production serves version {version} now")
    return _brought(events, version)


def _brought(events: list[Event], version: int | None) -> Event:
    """Return the last event that brought the version into production. InputError when none did; None: when production serves nothing."""
    brought = [event for event in events if event.kind in ("promoted", "rolled_back")]
    if not brought:
        raise InputError("production never served a version: there is nothing to return to")
    known = ", ".join(map(str, sorted({event.version for event in brought if event.version is not None})))
    if version is None:
        retired = [event for event in events if event.kind == "retired"][-1]
        raise InputError(
            f"production was taken out of service at {retired.at} by {retired.by}: approve a version, or return to one that it served "
            f"with --to ({known})"
        )
    found = [event for event in brought if event.version == version]
    if not found:
        raise InputError(f"production never served version {version}; it served {known}")
    return found[-1]
