"""First phase of a promotion: the endpoint at rest, the version to promote, and every reason against it. Nothing is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from delivery.endpoint.hosting import EndpointState
from delivery.errors import DeliveryError
from delivery.history import changes, decisions, registry_decisions, rollback_target, serving_history
from delivery.history.ledger import Event
from delivery.history.serving_history import DeployedVersion
from delivery.names import NOT_GIVEN, Fact
from delivery.registry import model_packages, verification
from delivery.registry.model_packages import ModelPackage
from steps.promote import intent, overtaken
from steps.promote.context import PromotionContext
from steps.promote.endpoint.observed_endpoint import ServedVersion


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
    """The version that production is to serve."""
    state: EndpointState | None
    """The endpoint, which nothing changes now; None when there is none."""
    before: ServedVersion | None
    """What it serves; None when there is none, or it failed and serves nobody."""
    events: list[Event]
    """The ledger's. Until the lease is given back nobody else writes one of what production serves."""
    against: list[str]
    """Why the version must not stay, where an ended try left it in production; otherwise nothing speaks against it."""
    superseded: Event | None = None
    """The event of its promotion, where it was promoted since it was approved, and production serves a newer version by now."""

    @property
    def recorded(self) -> Event | None:
        """The event that brought what the endpoint serves; None when the ledger says that it serves something else, or nothing."""
        now = serving_history.serving_now(self.events)
        is_served = now is not None and self.before is not None and self.before.config == DeployedVersion.of(now).config
        return now if is_served else None

    @property
    def left(self) -> Event | None:
        """The event `changing` to what the endpoint serves, where the try that wrote it was ended half-way."""
        if self.before is None:
            return None
        change = changes.open_change(self.events, self.before.config)
        return change if change is not None and change.details.get("to") == self.before.config else None


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
    state = _delete_what_failed(context, context.endpoint.at_rest())
    before = context.endpoint.served(state) if state and not state.has_failed else None
    target = _find_target(context)  # not before the wait for what changes the endpoint: the approval counts as it is now
    events = overtaken.end_overtaken(context, context.ledger.events(), state)
    if context.ledger_seen is None:
        context.ledger_seen = len(events)
    known = serving_history.deployment_of(events, before.config) if before else None
    if before is not None and known is not None:
        before = replace(before, autoscaling=known.autoscaling)
    prepared = Prepared(target, state, before, events, [])
    superseded = _superseded(context, prepared)
    if superseded is not None:
        return replace(prepared, superseded=superseded)
    return replace(prepared, against=_verify(context, prepared))


def _delete_what_failed(context: PromotionContext, state: EndpointState | None) -> EndpointState | None:
    """Delete an endpoint that an ended try made and that failed: it serves nobody, and must not stay if this version is refused."""
    if state is None or not state.has_failed:
        return state
    change = changes.change_to(context.ledger.events(), state.config)
    if change is None or change.details["from"] is not None:
        return state
    context.endpoint.delete_failed()
    return None


def _superseded(context: PromotionContext, prepared: Prepared) -> Event | None:
    """Find the promotion that an event of the version's approval asked for, where it was made long ago: events may come twice, and late."""
    package, before = prepared.target.package, prepared.before
    if context.is_rollback or before is None or (before.version or 0) <= package.version or not prepared.recorded:
        return None
    about = [event for event in prepared.events if event.version == package.version]
    last = next((event for event in reversed(about) if event.kind in ("approved", "promoted")), None)
    is_rejected = decisions.standing_rejection(prepared.events, package.version) is not None
    return last if last is not None and last.kind == "promoted" and not is_rejected else None


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
        if verdict == "passed" and decisions.standing_rejection(seen, package.version) is None:
            event = decisions.decide(context.ledger, "approved", package, by=arguments.execution, comment=comment, seen=seen)
            model_packages.approve(registry, arguments.model_package, comment)
            registry_decisions.settle(context.ledger, registry, package, event)
            package = context.read_version()
    elif arguments.approval == "automatic":
        # Somebody was faster than the gate, in the console: VerifyApproval, which would note it, is no part of a release.
        registry_decisions.note_if_made_elsewhere(context.ledger, package)
    return PromotionTarget(package, spelt_out=False)


def _verify(context: PromotionContext, prepared: Prepared) -> list[str]:
    """Return every reason against a version that production serves already without the ledger's knowledge; raise those against any other."""
    clients, package, before = context.clients, prepared.target.package, prepared.before
    was_left = prepared.left is not None and prepared.left.version == package.version
    if context.is_rollback:
        against = verification.unchanged(package, context.release, clients.s3, clients.make_ecr)
        if before is None or before.version != package.version:
            intent.check_not_rejected_since(context, prepared.events)
    else:
        against = [
            *verification.refusals(package, context.release, clients.s3, clients.make_ecr),
            *decisions.refusals(prepared.events, package.version, context.release.name),
            *verification.older(package.version, before.version if before else None),
        ]
        if not was_left:
            against += _tried_before(context, prepared.events, package.version)
    if against and not was_left:
        raise DeliveryError(f"version {package.version} is not promoted; production is untouched: {'; '.join(against)}")
    return against


def _tried_before(context: PromotionContext, events: list[Event], version: int) -> Iterator[str]:
    """Refuse to repeat a promotion that failed, where nobody asked for this one: the event of the gate's approval comes after both."""
    failed = decisions.failed_try(events, version)
    arguments = context.arguments
    if failed is not None and arguments.by == NOT_GIVEN and failed.details.get("execution") != arguments.execution:
        yield (
            f"order: the promotion of version {version} was tried at {failed.at} and failed: {failed.details.get('reason')}; approve it "
            "again to try again (in the console: reject it, then approve it with other words than before)"
        )
