"""Second phase of a promotion: the endpoint is given the version, and smoke-tested; a version that is wrong is taken out again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import NoReturn

from config.production import Autoscaling
from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import EndpointState
from delivery.endpoint.prompt_checks import PromptCheckResult
from delivery.errors import ChangedByHand, DeliveryError, LeaseLost, cleaning_up_after
from delivery.history import changes, serving_history
from delivery.history.ledger import Event
from delivery.history.serving_history import DeployedVersion
from delivery.job.frame import progress
from steps.promote import intent
from steps.promote.context import PromotionContext
from steps.promote.endpoint.observed_endpoint import ServedVersion
from steps.promote.models import Action
from steps.promote.prepare import Prepared

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReturnTarget:
    """What production goes back to when the version turns out wrong. Read before the change: after it, nothing may be left to ask."""

    config: str | None
    """The endpoint config; None where there was no endpoint."""
    version: int | None = None
    """The version of that config."""
    autoscaling: Autoscaling | None = None
    """What it is to have back."""


@dataclass(frozen=True)
class Change:
    """What became of the endpoint, which serves the version now."""

    action: Action
    """What was done to it."""
    state: EndpointState
    """As it is now."""
    new: Deployment
    """What it serves."""
    back: ReturnTarget
    """What it served before; the version itself when it was unchanged."""
    smoke_test: list[PromptCheckResult] = field(default_factory=list)
    """The prompt checks, asked of production after the update; none when it was unchanged."""
    unfinished: list[str] = field(default_factory=list)
    """What could not be settled, and why; the version serves all the same."""
    recorded: Event | None = None
    """The ledger's event that brought the version into production, when it was unchanged."""

    @property
    def previous_version(self) -> int | None:
        """What it served before; the version itself when it was unchanged."""
        return self.back.version


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
        back = ReturnTarget(None)
        new = _deployment(context, prepared, back)
        state = context.endpoint.create(new, lambda: intent.begin(context, new, None))
        return _keep_or_restore(context, new, state, "created", back)
    if before.version == target.package.version:
        return _resume(context, prepared, state, before)
    back = _return_target(context, prepared, before)
    new = _deployment(context, prepared, back)
    state = context.endpoint.update(new, before, lambda: intent.begin(context, new, before))
    return _keep_or_restore(context, new, state, "updated", back)


def take_out(context: PromotionContext, change: Change, error: DeliveryError) -> NoReturn:
    """Restore what production served before the change; raise `error` with what became of it.

    Args:
        context: What the phases share.
        change: What `deploy` did.
        error: Why the version must not stay.

    Raises:
        DeliveryError: Always.
        LeaseLost: Another promotion took over.
    """
    back, version = change.back, change.new.package.version
    with cleaning_up_after(error):
        context.endpoint.restore(back.config, change.state.config, back.autoscaling)
    now = f"it serves version {back.version} again" if back.config else "it was the first and is deleted"
    raise DeliveryError(f"{error}; version {version} was taken out of production, {now}") from error


def _deployment(context: PromotionContext, prepared: Prepared, back: ReturnTarget) -> Deployment:
    return Deployment(
        context.release,
        prepared.target.package,
        "production",
        context.arguments.execution,
        context.release.model.production.instance_count,
        previous=back.config,
        spelt_out=prepared.target.spelt_out,
    )


def _return_target(context: PromotionContext, prepared: Prepared, before: ServedVersion) -> ReturnTarget:
    """Name what to return to when the version turns out wrong: what production serves now.

    Where that is a newer version that an ended try left and nobody smoke-tested, it is what production served before that. A rollback
    leaves what serves now, whatever it is.
    """
    now = serving_history.serving_now(prepared.events)
    if now is not None and before.previous is not None and not context.is_rollback:
        known = DeployedVersion.of(now)
        is_untested = before.previous == known.config and (before.version or 0) > (now.version or 0)
        if is_untested and context.clients.hosting.config(known.config) is not None:
            return ReturnTarget(known.config, now.version, known.autoscaling)
    return ReturnTarget(before.config, before.version, before.autoscaling)


def _resume(context: PromotionContext, prepared: Prepared, state: EndpointState, before: ServedVersion) -> Change:
    """Leave an endpoint alone that serves the version. Where a try was ended before the ledger had it, do what it left."""
    events, last = prepared.events, prepared.recorded
    if last is not None:
        who = last.details.get("execution") or last.by
        logger.info(
            f"{context.endpoint.name} serves version {before.version} already, since {last.at}, by {who}: nothing is changed"
        )
        back = ReturnTarget(before.config, before.version, before.autoscaling)
        new = _deployment(context, prepared, back)
        unfinished = context.endpoint.settle(state, new) if changes.unfinished(events) else []
        return Change("unchanged", state, new, back, unfinished=unfinished, recorded=last)
    progress(f"{context.endpoint.name} serves version {before.version}, but was not smoke-tested yet: an earlier try was ended")
    back = _left_behind(context, prepared, before)
    new = _deployment(context, prepared, back)
    context.change = prepared.left
    action: Action = "updated" if back.config else "created"
    if prepared.against:
        wrong = DeliveryError(
            f"version {before.version}, which an ended try left in production, must not stay: {'; '.join(prepared.against)}"
        )
        take_out(context, Change(action, state, new, back), wrong)
    if prepared.left is None:
        intent.begin(context, new, None, config=state.config)
    return _keep_or_restore(context, new, state, action, back)


def _left_behind(context: PromotionContext, prepared: Prepared, before: ServedVersion) -> ReturnTarget:
    """Name what an ended try was to go back to, by the event that it wrote and the tags of its endpoint config."""
    now = serving_history.serving_now(prepared.events)
    config = before.previous
    if config is None and prepared.left is None and now is not None:
        config = DeployedVersion.of(
            now
        ).config  # the ledger knows of no such try: never is an endpoint deleted that served before
    known = serving_history.deployment_of(prepared.events, config)
    version = changes.version_before(prepared.left) if prepared.left else None
    if version is None and config is not None:
        version = context.clients.hosting.version_of(config)
    return ReturnTarget(config, version, known.autoscaling if known else None)


def _keep_or_restore(
    context: PromotionContext, new: Deployment, state: EndpointState, action: Action, back: ReturnTarget
) -> Change:
    """Smoke-test the endpoint; keep the version, or restore what it served before."""
    endpoint, version = context.endpoint, new.package.version
    try:
        smoke_test = endpoint.smoke_test(state, new)
        _check_approval(context, version)
        state = endpoint.look_again(state.config)
    except (LeaseLost, ChangedByHand):
        raise
    except DeliveryError as error:
        take_out(context, Change(action, state, new, back), error)
    return Change(action, state, new, back, smoke_test, endpoint.settle(state, new))


def _check_approval(context: PromotionContext, version: int) -> None:
    """Raise when the approval was taken back: an update may take hours, and whoever did that wants the version out of production."""
    if not context.is_rollback and (now := context.read_version().approval_status) != "Approved":
        raise DeliveryError(f"the approval of version {version} was taken back during the update: it is {now} now")
