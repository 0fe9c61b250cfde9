"""Second phase of a promotion: the endpoint is given the version, and smoke-tested; a version that is wrong is taken out again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import EndpointState
from delivery.endpoint.prompt_checks import PromptCheckResult
from delivery.errors import DeliveryError, LeaseLost, cleaning_up_after
from delivery.history.ledger import Event, newest
from delivery.history.serving_history import DeployedVersion
from delivery.job.frame import progress
from steps.promote.context import PromotionContext
from steps.promote.models import Action
from steps.promote.prepare import Prepared
from steps.promote.production_endpoint import ServedVersion

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What became of the endpoint, which serves the version now."""

    action: Action
    """What was done to it."""
    state: EndpointState
    """As it is now."""
    previous_version: int | None
    """What it served before; the version itself when it was unchanged."""
    smoke_test: list[PromptCheckResult] = field(default_factory=list)
    """The prompt checks, asked of production after the update; none when it was unchanged."""
    recorded: Event | None = None
    """The ledger's event that brought the version into production, when it was unchanged."""


def deploy(context: PromotionContext, prepared: Prepared) -> Change:
    """Create or update the endpoint and smoke-test it; what serves the version already stays.

    Args:
        context: What the phases share.
        prepared: What `prepare` found.

    Returns:
        What became of the endpoint.

    Raises:
        DeliveryError: SageMaker took the update back, or the version failed its smoke test and was taken out of production. Production
            serves what it did; where it does not, the message says so.
        LeaseLost: Another promotion took over.
    """
    state, before, target = prepared.state, prepared.before, prepared.target
    if state is None or before is None:
        new = _deployment(context, prepared, previous=None)
        return _keep_or_restore(context, new, context.endpoint.create(new), "created")
    if before.version == target.package.version:
        return _resume(context, prepared, state, before)
    new = _deployment(context, prepared, previous=_config_to_return_to(context, before))
    return _keep_or_restore(context, new, context.endpoint.update(new, before), "updated")


def _deployment(context: PromotionContext, prepared: Prepared, *, previous: str | None) -> Deployment:
    return Deployment(
        context.release,
        prepared.target.package,
        "production",
        context.arguments.execution,
        context.release.model.production.instance_count,
        previous=previous,
        spelt_out=prepared.target.spelt_out,
    )


def _config_to_return_to(context: PromotionContext, before: ServedVersion) -> str:
    """Name the endpoint config to return to when the version turns out wrong: what production serves now.

    Where that is a newer version that an ended try left and nobody smoke-tested, it is what production served before that. A rollback
    leaves what serves now, whatever it is.
    """
    last = newest(context.ledger.events(), "promoted", "rolled_back")
    if context.is_rollback or last is None or before.previous is None:
        return before.config
    is_untested = before.previous == DeployedVersion.of(last).config and (before.version or 0) > (last.version or 0)
    return before.previous if is_untested and context.clients.hosting.config(before.previous) is not None else before.config


def _resume(context: PromotionContext, prepared: Prepared, state: EndpointState, before: ServedVersion) -> Change:
    """Leave an endpoint alone that serves the version. Where a try was killed before the ledger had it, do what it left."""
    last = newest(context.ledger.events(), "promoted", "rolled_back")
    if last is not None and DeployedVersion.of(last).config == state.config:
        logger.info(f"{context.endpoint.name} serves version {before.version} already: nothing is changed")
        return Change("unchanged", state, before.version, recorded=last)
    progress(f"{context.endpoint.name} serves version {before.version}, but was not smoke-tested yet: an earlier try was ended")
    new = _deployment(context, prepared, previous=before.previous)
    return _keep_or_restore(context, new, state, "updated" if before.previous else "created")


def _keep_or_restore(context: PromotionContext, new: Deployment, state: EndpointState, action: Action) -> Change:
    """Smoke-test the endpoint; keep the version, or restore what it served before."""
    endpoint, previous, version = context.endpoint, new.previous, new.package.version
    previous_version = context.clients.hosting.version_of(previous) if previous else None
    try:
        smoke_test = endpoint.smoke_test(state, new)
        _check_approval(context, version)
    except LeaseLost:
        raise
    except DeliveryError as error:
        with cleaning_up_after(error):
            endpoint.restore(previous, state.config, context.autoscaling_of(previous))
        back = f"it serves version {previous_version} again" if previous else "it was the first and is deleted"
        raise DeliveryError(f"{error}; version {version} was taken out of production, {back}") from error
    endpoint.settle(state, new)
    return Change(action, state, previous_version, smoke_test)


def _check_approval(context: PromotionContext, version: int) -> None:
    """Raise when the approval was taken back: an update may take hours, and whoever did that wants the version out of production."""
    if not context.is_rollback and (now := context.read_version().approval_status) != "Approved":
        raise DeliveryError(f"the approval of version {version} was taken back during the update: it is {now} now")
