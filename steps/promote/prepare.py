"""First phase of a promotion: the endpoint at rest, the version to promote, and every reason against it. Nothing is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from delivery.endpoint.hosting import EndpointState
from delivery.errors import DeliveryError
from delivery.history import decisions, rollback_target
from delivery.names import NOT_GIVEN, Fact
from delivery.registry import model_packages, verification
from delivery.registry.model_packages import ModelPackage
from steps.promote.context import PromotionContext
from steps.promote.production_endpoint import ServedVersion


@dataclass(frozen=True)
class PromotionTarget:
    """The version that production is to serve."""

    package: ModelPackage
    """As the registry has it; of a rollback, as the ledger remembers it."""
    spelt_out: bool
    """Whether its container is spelt out: the registry may have it no more."""


@dataclass(frozen=True)
class Prepared:
    """What is known before the endpoint is changed."""

    target: PromotionTarget
    """The version that production is to serve; nothing speaks against it."""
    state: EndpointState | None
    """The endpoint, which nothing changes now; None when there is none."""
    before: ServedVersion | None
    """What it serves; None when there is none, or it failed and serves nobody."""


def prepare(context: PromotionContext) -> Prepared:
    """Wait until nothing changes the endpoint, read the version and verify it.

    Args:
        context: What the phases share.

    Returns:
        What `deploy` needs.

    Raises:
        DeliveryError: Every reason against the version. Nothing has been touched.
        InputError: The endpoint is not this model's, or production never served what a rollback names.
    """
    state = context.endpoint.at_rest()
    before = _served(context, state) if state and not state.has_failed else None
    target = _find_target(context)  # not before the wait for what changes the endpoint: the approval counts as it is now
    _verify(context, target.package, before)
    return Prepared(target, state, before)


def _served(context: PromotionContext, state: EndpointState) -> ServedVersion:
    found = context.endpoint.served(state)
    return replace(found, autoscaling=context.autoscaling_of(found.config))


def _find_target(context: PromotionContext) -> PromotionTarget:
    """Read the version; where the gate's verdict is enough, approve it first."""
    arguments, registry = context.arguments, context.clients.registry
    if context.is_rollback:
        found = rollback_target.find(context.ledger.events(), arguments.model_package, registry)
        return PromotionTarget(found.package, spelt_out=not found.is_deployable)
    package = context.read_version()
    if arguments.approval == "automatic" and package.approval_status == "PendingManualApproval":
        verdict = package.facts.get(Fact.EVALUATION_VERDICT, "unknown")
        comment = f"approved by the gate in {arguments.execution}: {verdict}"
        seen = context.ledger.events()
        if decisions.standing_rejection(seen, package.version) is None:
            event = decisions.decide(context.ledger, "approved", package, by=arguments.execution, comment=comment, seen=seen)
            model_packages.approve(registry, arguments.model_package, comment)
            decisions.settle(context.ledger, registry, package, event)
            package = context.read_version()
    return PromotionTarget(package, spelt_out=False)


def _verify(context: PromotionContext, package: ModelPackage, before: ServedVersion | None) -> None:
    """Raise a DeliveryError that names every reason against the version."""
    clients = context.clients
    if context.is_rollback:
        against = verification.unchanged(package, context.release, clients.s3, clients.make_ecr)
    else:
        against = [
            *verification.refusals(package, context.release, clients.s3, clients.make_ecr),
            *decisions.refusals(context.ledger.events(), package.version, context.release.name),
            *verification.older(package.version, before.version if before else None),
            *_tried_before(context, package.version),
        ]
    if against:
        raise DeliveryError(f"version {package.version} is not promoted; production is untouched: {'; '.join(against)}")


def _tried_before(context: PromotionContext, version: int) -> Iterator[str]:
    """Refuse to repeat a promotion that failed, where nobody asked for this one: the event of the gate's approval comes after both."""
    failed = decisions.failed_try(context.ledger.events(), version)
    arguments = context.arguments
    if failed is not None and arguments.by == NOT_GIVEN and failed.details.get("execution") != arguments.execution:
        yield (
            f"order: the promotion of version {version} was tried at {failed.at} and failed: {failed.details.get('reason')}; approve it "
            "again to try again (in the console: reject it, then approve it with other words than before)"
        )
