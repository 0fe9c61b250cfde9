"""Third phase of a promotion: the ledger says what production serves now, and what earlier promotions left is tidied up."""

from __future__ import annotations

import logging

from pydantic import JsonValue

from delivery.errors import DeliveryError, InputError
from delivery.history import decisions
from delivery.history.ledger import EventKind
from delivery.history.serving_history import DeployedVersion
from delivery.job.frame import progress
from delivery.names import NOT_GIVEN
from delivery.registry import model_packages
from steps.promote.context import PromotionContext
from steps.promote.deploy import Change
from steps.promote.models import Promotion
from steps.promote.prepare import Prepared

logger = logging.getLogger(__name__)


def record(context: PromotionContext, prepared: Prepared, change: Change) -> Promotion:
    """Write the ledger, reject the version that a rollback left, and tidy up.

    Args:
        context: What the phases share.
        prepared: What `prepare` found.
        change: What `deploy` did.

    Returns:
        What promotion.json says.

    Raises:
        DeliveryError: The ledger or the registry could not be written to. What cannot be tidied up is no error.
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
    )
    if change.recorded is None:
        _write_event(context, prepared, change, promotion)
        context.in_ledger = True
        _reject_rolled_back(context, change.previous_version)
    else:
        context.in_ledger = True
        if change.recorded.kind == "rolled_back":  # whichever execution wrote it may have ended before it rejected what it left
            _reject_rolled_back(context, change.recorded.details.get("previous_version"))
    _tidy_up(context, change)
    return promotion


def _write_event(context: PromotionContext, prepared: Prepared, change: Change, promotion: Promotion) -> None:
    """Append the audit record of this promotion, with all that is needed to serve the version again."""
    kind: EventKind = "rolled_back" if context.is_rollback else "promoted"
    arguments, model, package = context.arguments, context.release.model, prepared.target.package
    bounds = model.production.autoscaling
    deployed = DeployedVersion(
        endpoint=context.endpoint.name,
        config=change.state.config,
        instance_type=model.serving.instance_type,
        instance_count=model.production.instance_count,
        instance_bounds=(bounds.min_instances, bounds.max_instances) if bounds else None,
        autoscaling=bounds,
        container=dict(package.container),
        facts=dict(package.facts),
    )
    context.lease.confirm()
    context.ledger.append(
        kind,
        by=arguments.who,
        version=package.version,
        model_package=package.arn,
        details={
            "deployment": deployed.model_dump(mode="json"),
            "previous_version": promotion.previous_version,
            "action": promotion.action,
            "strategy": model.production.update.strategy,
            "prompt_checks": len(promotion.smoke),
            "seconds": promotion.seconds,
            "execution": arguments.execution,
            **({"comment": arguments.comment} if arguments.comment != NOT_GIVEN else {}),
        },
    )


def _reject_rolled_back(context: PromotionContext, left: JsonValue) -> None:
    """Reject the version that a rollback left: every later change of an approved version is an event, and would promote it again."""
    arguments, registry = context.arguments, context.clients.registry
    if not context.is_rollback or left is None:
        return
    arn = f"{arguments.model_package.rsplit('/', 1)[0]}/{left}"
    try:
        package = model_packages.read(registry, arn)
    except InputError:
        return  # deleted
    if package.approval_status == "Approved":
        why = "" if arguments.comment == NOT_GIVEN else f": {arguments.comment}"
        comment = f"production was rolled back from it{why}"
        model_packages.reject(registry, arn, f"{comment} (by {arguments.who})")
        decisions.note(context.ledger, "rejected", package, by=arguments.who, comment=comment)


def _tidy_up(context: PromotionContext, change: Change) -> None:
    """Delete what earlier promotions left. It costs nothing: that it cannot be deleted now makes no promotion a failed one."""
    try:
        context.endpoint.tidy_up(change.state)
    except DeliveryError as error:
        logger.warning(f"what earlier promotions left stays for the next one: {error}")
