"""The write-ahead record of a change of production: written before the first touch, so that any next run can tell what an ended one left."""

from __future__ import annotations

from typing import Any

from delivery.endpoint.deployment import Deployment
from delivery.errors import DeliveryError, LeaseLost
from delivery.history import changes, decisions
from delivery.history.ledger import Event
from delivery.history.serving_history import DeployedVersion
from delivery.names import NOT_GIVEN
from steps.promote.context import PromotionContext
from steps.promote.endpoint.observed_endpoint import ServedVersion


def begin(context: PromotionContext, new: Deployment, before: ServedVersion | None, *, config: str | None = None) -> None:
    """Write into the ledger what is about to be changed, from what to what.

    Args:
        context: What the phases share; its `change` is the event from then on.
        new: What the endpoint is to serve.
        before: What it serves; None when it serves nothing.
        config: The endpoint config that it is to serve, where it is not the deployment's own: an earlier execution made it.

    Raises:
        DeliveryError: S3 refused: nothing must be changed.
        LeaseLost: Another promotion took over.
    """
    to = config or new.name
    _write(context, before, to, deployment=deployed_version(context, new, to).model_dump(mode="json"))


def begin_retirement(context: PromotionContext, before: ServedVersion | None) -> None:
    """Write into the ledger that the endpoint is about to be taken out of service. Errors as of `begin`.

    Args:
        context: What the phases share; its `change` is the event from then on.
        before: What it serves; None when it is gone, or serves nobody.
    """
    _write(context, before, None)


def _write(context: PromotionContext, before: ServedVersion | None, to: str | None, **more: Any) -> None:
    """Write the event `changing`, as the holder of the lease."""
    arguments = context.arguments
    context.lease.confirm()
    context.change = context.ledger.append(
        "changing",
        by=arguments.who,
        version=arguments.version,
        model_package=arguments.model_package,
        details={
            "intent": arguments.intent,
            "from": before.config if before else None,
            "from_version": before.version if before else None,
            "to": to,
            "endpoint": context.endpoint.name,
            "execution": arguments.execution,
            **more,
            **comment(context),
        },
        check=lambda events: _check(context, before, events),
    )


def _check(context: PromotionContext, before: ServedVersion | None, events: list[Event]) -> None:
    """Raise DeliveryError when a decision or an evaluation came between the last look and this event."""
    arguments, version = context.arguments, context.arguments.version or 0
    check_not_rejected_since(context, events)
    if arguments.intent != "promotion" or (before is not None and before.version == version):
        return
    against = [
        *decisions.refusals(events, version, context.release.name),
        *decisions.failed_evaluation(events, version),
    ]
    if against:
        raise DeliveryError(f"version {version} is not promoted; production is untouched: {'; '.join(against)}")


def check_not_rejected_since(context: PromotionContext, events: list[Event]) -> None:
    """Raise DeliveryError when somebody rejected the version that a rollback returns to, after whoever asked for it had looked.

    Args:
        context: What the phases share.
        events: The ledger's, as they are now.
    """
    arguments = context.arguments
    against = decisions.standing_rejection(events, arguments.version or 0) if context.is_rollback else None
    if against is not None and against.sequence > (context.ledger_seen or 0):
        raise DeliveryError(
            f"production does not go back to version {arguments.version}, and is untouched: {decisions.describe(against)}, after the rollback "
            f"was asked for; whoever wants it all the same says so: {next_run(context)} --force --comment WHY"
        )


def begun(context: PromotionContext) -> dict[str, int]:
    """Return since when a rollback overrules no rejection any more, as a detail of the event that says how it ended.

    That is its event `changing`; or what whoever asked for it looked at, where it goes on with what an earlier one began.
    """
    if not context.is_rollback or context.change is None:
        return {}
    return {"begun": max(context.change.sequence, context.ledger_seen or 0)}


def comment(context: PromotionContext) -> dict[str, str]:
    """Return why, where a person said so, as a detail of an event: whoever has to tell of the change's end may be another run."""
    said = context.arguments.comment
    return {} if said == NOT_GIVEN else {"comment": said}


def deployed_version(context: PromotionContext, new: Deployment, config: str) -> DeployedVersion:
    """Describe what the endpoint serves, or is to serve, with all that is needed to serve it again."""
    model, package = context.release.model, new.package
    bounds = model.production.autoscaling
    return DeployedVersion(
        endpoint=context.endpoint.name,
        config=config,
        instance_type=model.serving.instance_type,
        instance_count=model.production.instance_count,
        instance_bounds=(bounds.min_instances, bounds.max_instances) if bounds else None,
        autoscaling=bounds,
        container=dict(package.container),
        facts=dict(package.facts),
    )


def still_ours(context: PromotionContext, events: list[Event], seen: list[Event]) -> None:
    """Raise LeaseLost when the ledger has a later change of production: another run took over, and its word counts.

    Args:
        context: What the phases share. Its change may be an older one than others in `seen`, when it goes on with what an ended try left.
        events: The ledger's, as they are now.
        seen: As they were when the endpoint was looked at.
    """
    mine = context.change
    since = max((event.sequence for event in [*seen[-1:], *([mine] if mine else [])]), default=0)
    later = [event for event in events if mine is not None and event.sequence > since]
    taken = next((event for event in later if event.kind in (*changes.ENDINGS, "changing")), None)
    if taken is not None:
        raise LeaseLost(
            f"{taken.details.get('execution') or taken.by} took over (the ledger's event {taken.sequence}); nothing more is done here"
        )


def open_end(context: PromotionContext) -> str:
    """Say what a change that failed left open, by comparing the endpoint with it; empty when production serves what it did, or nothing.

    Args:
        context: What the phases share.

    Returns:
        A sentence with what to do next.
    """
    change = context.change
    if change is None:
        return ""
    try:
        now = _what_is_left(context, change)
    except DeliveryError as error:
        before = changes.version_before(change)
        old = f"version {before}" if before else "nothing"
        new = "nothing" if change.details["to"] is None else f"version {change.version}"
        now = f"whether {context.endpoint.name} serves {new} by now, or still {old}, is not known ({error})"
    if not now:
        return ""
    return f"{now}; the ledger has the change as begun (event {change.sequence}), and the next run ends it: {next_run(context)}"


def _what_is_left(context: PromotionContext, change: Event) -> str:
    """Say what the change has done to the endpoint; empty when it has come to nothing."""
    name, to = context.endpoint.name, change.details["to"]
    if to is None:
        config = change.details["from"]
        return "" if config and context.endpoint.serves(str(config)) else f"{name} is out of service now, or about to be"
    return f"{name} serves version {change.version} now, or is being given it" if context.endpoint.may_serve(str(to)) else ""


def settling_run(context: PromotionContext) -> str:
    """Return the command that starts a run which settles what production goes on serving, after a change that came to nothing."""
    served = changes.version_before(context.change) if context.change else None
    return f"python -m pipelines.run approve {context.release.name} {served or 'VERSION'}"


def next_run(context: PromotionContext) -> str:
    """Return the command that starts a run which finishes what this one left."""
    command, version = f"python -m pipelines.run {{}} {context.release.name}", context.arguments.version
    match context.arguments.intent:
        case "rollback":
            return f"{command.format('rollback')} --to {version}"
        case "retirement":
            return f"{command.format('retire')} --comment WHY"
        case _:
            return f"{command.format('approve')} {version}"
