"""A retirement: the production endpoint is taken out of service. The same lease and ledger as a promotion; it can be ended anywhere and run again."""

from __future__ import annotations

import logging
from dataclasses import replace

from delivery.endpoint.hosting import EndpointState
from delivery.errors import DeliveryError, InputError
from delivery.history import changes, serving_history
from delivery.history.ledger import Event
from delivery.job.frame import progress
from steps.promote import intent, overtaken
from steps.promote.context import PromotionContext
from steps.promote.endpoint.observed_endpoint import ServedVersion
from steps.promote.models import Promotion
from steps.promote.record import finish, report_finished

logger = logging.getLogger(__name__)


def retire(context: PromotionContext) -> Promotion:
    """Delete the endpoint with its autoscaling, alarms, endpoint configs and models; write the ledger; reject the version.

    Args:
        context: What the phases share. Its arguments name the version that whoever asked saw in production.

    Returns:
        What promotion.json says.

    Raises:
        InputError: Production serves another version, or nothing that this project made.
        DeliveryError: The endpoint could not be deleted, and goes on; or it is gone and something is left: the message says what.
        LeaseLost: Another run took over.
    """
    state = context.endpoint.at_rest()
    events = overtaken.end_overtaken(context, context.ledger.events(), state)
    served = context.endpoint.served(state) if state else None  # one that is Failed serves nobody, and is retired all the same
    done = _done_before(context, events, state)
    if done is None:
        _check(context, events, served)
        _take_out_of_service(context, events, state, served)
        report_finished(changes.unfinished(events))
    else:
        logger.info(f"{context.endpoint.name} was taken out of service already, at {done.at} by {done.by}")
    context.in_ledger = True
    finish(context, None, [], f"{context.endpoint.name} is out of service and the ledger says so")
    return Promotion(
        endpoint=context.endpoint.name,
        model_package=context.arguments.model_package,
        version=context.arguments.version or 0,
        previous_version=context.arguments.version,
        action="retired",
        smoke=[],
        seconds=context.seconds,
        execution=context.arguments.execution if done is None else str(done.details.get("execution") or done.by),
    )


def _done_before(context: PromotionContext, events: list[Event], state: EndpointState | None) -> Event | None:
    """Find the event of an earlier retirement of this version, where the endpoint is gone and nothing came after it."""
    endings = [event for event in events if event.kind in changes.ENDINGS]
    last = endings[-1] if endings else None
    is_done = state is None and last is not None and last.kind == "retired" and last.version == context.arguments.version
    return last if is_done else None


def _check(context: PromotionContext, events: list[Event], served: ServedVersion | None) -> None:
    """Raise InputError unless production serves the version that was asked for; one that is gone already is that of the ledger."""
    version = served.version if served else serving_history.version_now(events)
    if version != context.arguments.version:
        raise InputError(
            f"{context.endpoint.name} serves {'nothing' if version is None else f'version {version}'} now, not version "
            f"{context.arguments.version}: nothing is changed; look at its status, then retire it again"
        )


def _take_out_of_service(
    context: PromotionContext, events: list[Event], state: EndpointState | None, served: ServedVersion | None
) -> None:
    """Delete the endpoint, then say so in the ledger: what an ended run left undone, the next one does."""
    if served is not None:
        known = serving_history.deployment_of(events, served.config)
        served = replace(served, autoscaling=known.autoscaling if known else None)
    intent.begin_retirement(context, served)
    if state is not None:
        progress(f"{context.endpoint.name} is taken out of service")
        context.endpoint.retire(served.autoscaling if served else None)
    if context.endpoint.is_there():
        raise DeliveryError(f"{context.endpoint.name} is there again: somebody made it while it was taken out of service")
    _write_event(context, events, served)


def _write_event(context: PromotionContext, events: list[Event], served: ServedVersion | None) -> None:
    arguments = context.arguments
    context.lease.check()
    context.ledger.append(
        "retired",
        by=arguments.who,
        version=arguments.version,
        model_package=arguments.model_package,
        details={
            "previous_version": arguments.version,
            "endpoint": context.endpoint.name,
            "config": served.config if served else None,
            "seconds": context.seconds,
            "execution": arguments.execution,
            **intent.comment(context),
        },
        check=lambda now: intent.still_ours(context, now, events),
    )
