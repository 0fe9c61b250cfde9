"""Third phase of a promotion: the ledger says what production serves now, and what earlier promotions left is tidied up."""

from __future__ import annotations

import logging

from delivery.errors import DeliveryError, InputError, LeaseLost
from delivery.history import changes, decisions
from delivery.history.ledger import Event, EventKind
from delivery.job.frame import progress
from delivery.registry import model_packages
from steps.promote import intent
from steps.promote.context import PromotionContext
from steps.promote.deploy import Change, take_out
from steps.promote.models import Promotion
from steps.promote.prepare import Prepared

logger = logging.getLogger(__name__)


def record(context: PromotionContext, prepared: Prepared, change: Change) -> Promotion:
    """Write the ledger, reject the version that a rollback left, and tidy up.

    A promotion that the ledger cannot be told of is undone. A rollback is not: what it left was bad.

    Args:
        context: What the phases share.
        prepared: What `prepare` found.
        change: What `deploy` did.

    Returns:
        What promotion.json says.

    Raises:
        DeliveryError: The ledger could not be written to; or the version serves and is in the ledger, and something else was left unfinished:
            the message names it, and the next run does it. What cannot be tidied up is no error.
        LeaseLost: Another promotion took over; the ledger is its own to write.
    """
    package = prepared.target.package
    progress(f"{context.endpoint.name} serves version {package.version} ({change.action})")
    promotion = Promotion(
        endpoint=context.endpoint.name,
        model_package=package.arn,
        version=package.version,
        previous_version=change.previous_version,
        action=change.action,
        smoke=change.smoke_test,
        seconds=context.seconds,
        execution=_execution(context, change.recorded),
    )
    if change.recorded is None:
        _write_or_take_out(context, prepared, change, promotion)
    context.in_ledger = True
    left = changes.unfinished(prepared.events)
    if not change.unfinished:
        report_finished(left)
        if left and change.recorded is not None:
            _write_settled(context, change.recorded, left)
    now = f"{context.endpoint.name} serves version {package.version} and the ledger says so"
    finish(context, change.state.config, change.unfinished, now)
    return promotion


def report_finished(left: list[str]) -> None:
    """Say that what an earlier run had left unfinished is done, or has no object any more.

    Args:
        left: One sentence each, as `changes.unfinished` returns them.
    """
    if left:
        progress(f"no longer unfinished, as an earlier run had left it: {'; '.join(left)}")


def finish(context: PromotionContext, config: str | None, unfinished: list[str], now: str) -> None:
    """Reject what was taken out of production and delete what earlier changes of it left, once the ledger says what it serves.

    Args:
        context: What the phases share.
        config: The endpoint config that it serves; None: it serves nothing.
        unfinished: What could not be done before, one sentence each.
        now: What production serves, as a sentence.

    Raises:
        DeliveryError: Something is unfinished. What a later promotion tidies up is not, but after a retirement none may come.
        LeaseLost: Another run took over.
    """
    unfinished = unfinished + _reject_what_was_left(context)
    try:
        context.endpoint.tidy_up(config)
    except DeliveryError as error:
        if config is None:
            unfinished.append(f"deleting what was behind it: {error}")
        else:
            logger.warning(f"what earlier promotions left stays for the next one: {error}")
    if unfinished:
        raise DeliveryError(
            f"{now}, but this is unfinished: {'; '.join(unfinished)}; the next run does it: {intent.next_run(context)}"
        )


def report_superseded(context: PromotionContext, prepared: Prepared, promoted: Event) -> Promotion:
    """Say that the version was promoted since it was approved, and a newer one after it: an event that came twice, or late, asks for nothing.

    Args:
        context: What the phases share.
        prepared: What `prepare` found.
        promoted: The event of that promotion.

    Returns:
        What promotion.json says.
    """
    package, serving = prepared.target.package, prepared.before.version if prepared.before else None
    execution = _execution(context, promoted)
    logger.info(
        f"version {package.version} was promoted already, at {promoted.at} by {execution}, and production serves version {serving} since: "
        "nothing is changed; to go back, use rollback"
    )
    return Promotion(
        endpoint=context.endpoint.name,
        model_package=package.arn,
        version=package.version,
        previous_version=serving,
        action="superseded",
        smoke=[],
        seconds=context.seconds,
        execution=execution,
    )


def _execution(context: PromotionContext, recorded: Event | None) -> str:
    """Name the execution that brought the version into production."""
    return context.arguments.execution if recorded is None else str(recorded.details.get("execution") or recorded.by)


def _write_or_take_out(context: PromotionContext, prepared: Prepared, change: Change, promotion: Promotion) -> None:
    """Append the audit record of this promotion; a promotion without one is undone.

    Raises:
        ChangedByHand: The endpoint serves something else by now.
        DeliveryError: The record could not be written.
        LeaseLost: Another run changed production since.
    """
    context.endpoint.look_again(change.state.config)
    try:
        context.ledger.events()  # a listing that is refused now says for certain that nothing was written
    except DeliveryError as error:
        _without_record(context, change, error)
    try:
        _write_event(context, prepared, change, promotion)
    except LeaseLost:
        raise
    except DeliveryError as error:
        if not _is_written(context, error):
            _without_record(context, change, error)


def _without_record(context: PromotionContext, change: Change, error: DeliveryError) -> None:
    """Undo a promotion that the ledger has not. A rollback stays: it goes on in the next run, by the event `changing`."""
    if context.is_rollback:
        raise error
    take_out(context, change, error)


def _is_written(context: PromotionContext, error: DeliveryError) -> bool:
    """Tell whether the event is there although its write failed: the answer got lost. The first error, when nobody can tell."""
    try:
        events = context.ledger.events()
    except DeliveryError as unreadable:
        raise DeliveryError(f"{error}; {unreadable}") from error
    ending = next((event for event in reversed(events) if event.kind in changes.ENDINGS), None)
    return ending is not None and ending.details.get("execution") == context.arguments.execution


def _write_event(context: PromotionContext, prepared: Prepared, change: Change, promotion: Promotion) -> None:
    """Append the audit record of this promotion, with all that is needed to serve the version again."""
    kind: EventKind = "rolled_back" if context.is_rollback else "promoted"
    arguments, package = context.arguments, change.new.package
    context.lease.check()
    context.ledger.append(
        kind,
        by=arguments.who,
        version=package.version,
        model_package=package.arn,
        details={
            "deployment": intent.deployed_version(context, change.new, change.state.config).model_dump(mode="json"),
            "previous_version": promotion.previous_version,
            "action": promotion.action,
            "strategy": context.release.model.production.update.strategy,
            "prompt_checks": len(promotion.smoke),
            "seconds": promotion.seconds,
            "execution": arguments.execution,
            **({"unfinished": [*change.unfinished]} if change.unfinished else {}),
            **intent.comment(context),
            **intent.begun(context),
        },
        check=lambda events: _compare(context, prepared, events),
    )


def _compare(context: PromotionContext, prepared: Prepared, events: list[Event]) -> None:
    """Raise when the ledger has, since the version was verified, another run's change of production, or a rejection of the version.

    Raises:
        DeliveryError: Somebody rejected it, after the last look at its approval.
        LeaseLost: Another run took over.
    """
    intent.still_ours(context, events, prepared.events)
    if context.is_rollback:
        return
    decided = decisions.last_decision(events[len(prepared.events) :], prepared.target.package.version)
    if decided is not None and decided.kind == "rejected":
        raise DeliveryError(f"version {decided.version} was rejected during the update, at {decided.at} by {decided.by}")


def _write_settled(context: PromotionContext, recorded: Event, left: list[str]) -> None:
    """Append that what the event had left unfinished is done."""
    context.lease.check()
    context.ledger.append(
        "settled",
        by=context.arguments.who,
        version=recorded.version,
        model_package=recorded.model_package,
        details={"settles": recorded.sequence, "finished": [*left], "execution": context.arguments.execution},
    )


def _reject_what_was_left(context: PromotionContext) -> list[str]:
    """Reject the versions that were taken out of production: every later change of an approved version is an event, and would promote it again.

    Those of earlier runs, too, that ended before they could.

    Args:
        context: What the phases share.

    Returns:
        What could not be done, one sentence each.

    Raises:
        LeaseLost: Another promotion took over.
    """
    try:
        due = changes.rejections_due(context.ledger.events())
    except DeliveryError as error:
        return [f"rejecting what was taken out of production: {error}"]
    unfinished = []
    for event in due:
        left = event.details["previous_version"]
        try:
            _reject(context, event, f"{context.arguments.model_package.rsplit('/', 1)[0]}/{left}")
        except LeaseLost:
            raise
        except DeliveryError as error:
            unfinished.append(f"rejecting version {left}: {error}")
    return unfinished


def _reject(context: PromotionContext, event: Event, arn: str) -> None:
    """Reject the version that an event took out of production."""
    registry, why = context.clients.registry, event.details.get("comment")
    try:
        package = model_packages.read(registry, arn)
    except InputError:
        return  # deleted
    what = "it was taken out of service" if event.kind == "retired" else "production was rolled back from it"
    comment = f"{what}{f': {why}' if why else ''}"
    if package.approval_status == "Approved":
        model_packages.reject(registry, arn, f"{comment} (by {event.by})")
    if package.approval_status in decisions.DECISIONS:
        decisions.note(context.ledger, "rejected", package, by=event.by, comment=comment)
