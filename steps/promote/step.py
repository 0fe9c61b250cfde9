"""Promote: verify, create or update the production endpoint, look it over, write the ledger; whatever is wrong, the old version is back.

Doing it twice is doing it once: an endpoint that serves the version already is left alone, and one that a killed try left half-way is taken
up where that try stopped. A rollback is the same, to a version that production served before.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from config.production import Autoscaling
from config.schema import Release
from delivery.endpoint import lease, prompt_checks
from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import EndpointState
from delivery.errors import InputError, LeaseHeld, LeaseLost, LedgerBroken, StepError, cleaning_up_after
from delivery.history import decisions, rollback_target, serving_history
from delivery.history.ledger import Kind, Ledger, newest
from delivery.job.frame import progress, say
from delivery.names import NOT_GIVEN, PROMOTION_FILE, Fact
from delivery.registry import model_packages, verification
from steps.promote.clients import Clients
from steps.promote.models import Action, Promotion
from steps.promote.production import Production, Serving


@dataclass(frozen=True)
class Request:
    """What one start of the step is told."""

    release: Release
    model_package: str
    execution: str
    approval: Literal["manual", "automatic"]
    """With `automatic` the step itself approves a pending version: the gate's verdict is enough."""
    output: Path
    intent: Literal["promotion", "rollback"] = "promotion"
    by: str = NOT_GIVEN
    """Who asked for a rollback."""
    comment: str = NOT_GIVEN
    """And why."""

    @property
    def who(self) -> str:
        """Who stands in the ledger: the person, where one asked, else the execution."""
        return self.execution if self.by == NOT_GIVEN else self.by


def run(request: Request) -> Promotion:
    """Promote the version and write OUTPUT/promotion.json. StepError when it must not or cannot be; production then serves what it did.

    LeaseHeld when another promotion worked on the endpoint for too long, LeaseLost when another one took over from this one.
    """
    environment, production = request.release.environment, request.release.model.production
    clients = Clients.of(environment, production.endpoint, request.execution)
    with lease.held(
        clients.s3,
        environment.bucket,
        production.endpoint,
        owner=_owner(),
        execution=request.execution,
        wait_s=production.lease.wait_s,
        expires_s=production.lease.expires_s,
        on_wait=lambda who: progress(f"waiting for another promotion to {production.endpoint}: {who}"),
    ) as held:
        promotion = Promoter(request, clients, held).run()
    request.output.mkdir(parents=True, exist_ok=True)
    (request.output / PROMOTION_FILE).write_text(promotion.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return promotion


def _owner() -> str:
    """This process, for people who wonder who has the lease."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"


@dataclass(frozen=True)
class Target:
    """The version that production is to serve."""

    package: model_packages.ModelPackage
    spelt_out: bool
    """Whether its container is spelt out: the registry may have it no more."""


class Promoter:
    """One promotion, by the holder of the lease."""

    def __init__(self, request: Request, clients: Clients, held: lease.Lease) -> None:
        self._request, self._clients, self._lease = request, clients, held
        self._release = request.release
        self._production = Production(request.release, clients, held)
        self._ledger = Ledger(clients.s3, request.release.environment.bucket, request.release.name)
        self._started = time.monotonic()
        self._in_ledger = False
        """Whether the ledger has it that the version reached production."""
        self._approval: str | None = None
        """The words of the approval that this try goes by; None where it goes by none, as a rollback does."""

    def run(self) -> Promotion:
        """The whole of it; see the module."""
        with self._record_refusal():
            state = self._production.at_rest()
            before = self._serving(state) if state and not state.has_failed else None
            target = self._target()  # not before the wait for what changes the endpoint: the approval counts as it is now
            self._check(target, before)
            if state is None or before is None:
                new = self._deployment(target, None)
                return self._finish(target, new, self._production.create(new), "created")
            if before.version == target.package.version:
                return self._resume(target, state, before)
            new = self._deployment(target, self._to_go_back_to(before))
            return self._finish(target, new, self._production.update(new, before), "updated")

    @contextmanager
    def _record_refusal(self) -> Iterator[None]:
        """The ledger is told why a version did not reach production. One who lost the lease has no say any more."""
        try:
            yield
        except (LeaseHeld, LeaseLost, LedgerBroken):
            raise
        except StepError as error:
            if self._in_ledger:
                raise  # it did reach production
            try:
                self._refuse(error)
            except StepError as unsaid:
                raise StepError(f"{error}; nor could the ledger be told of it: {unsaid}") from error
            raise

    def _refuse(self, error: StepError) -> None:
        self._lease.check()
        package = self._request.model_package
        version = package.rsplit("/", 1)[1]
        self._ledger.append(
            "refused",
            by=self._request.who,
            version=int(version) if version.isdigit() else None,
            model_package=package,
            details={
                "reason": str(error),
                "intent": self._request.intent,
                "tried": self._production.touched,
                "approval": self._approval,
                "execution": self._request.execution,
                "endpoint": self._production.endpoint,
            },
        )

    def _target(self) -> Target:
        """The version, as the registry has it; of a rollback, as the ledger remembers it."""
        arn = self._request.model_package
        if self._request.intent == "rollback":
            found = rollback_target.find(self._ledger.events(), arn, self._clients.registry)
            return Target(found.package, spelt_out=not found.is_deployable)
        package = self._read(arn)
        if self._request.approval == "automatic" and package.approval_status == "PendingManualApproval":
            verdict = package.facts.get(Fact.EVALUATION_VERDICT, "unknown")
            comment = f"approved by the gate in {self._request.execution}: {verdict}"
            model_packages.approve(self._clients.registry, arn, comment)
            package = self._read(arn)
            decisions.note(self._ledger, "approved", package, by=self._request.execution, comment=comment)
        return Target(package, spelt_out=False)

    def _read(self, arn: str) -> model_packages.ModelPackage:
        package = model_packages.read(self._clients.registry, arn)
        self._approval = package.approval_description
        return package

    def _check(self, target: Target, before: Serving | None) -> None:
        """StepError that names every reason against the version. Nothing has been touched when it is raised."""
        package, clients = target.package, self._clients
        if self._request.intent == "rollback":
            against = verification.unchanged(package, self._release, clients.s3, clients.make_ecr)
        else:
            against = [
                *verification.refusals(package, self._release, clients.s3, clients.make_ecr),
                *verification.older(package.version, before.version if before else None),
                *self._tried_before(package.version),
            ]
        if against:
            raise StepError(f"version {package.version} is not promoted; production is untouched: {'; '.join(against)}")

    def _tried_before(self, version: int) -> Iterator[str]:
        """A promotion that nobody asked for does not repeat another one that failed: the event of the gate's approval comes after both."""
        failed = decisions.failed_try(self._ledger.events(), version)
        execution = self._request.execution
        if failed is not None and self._request.by == NOT_GIVEN and failed.details.get("execution") != execution:
            yield (
                f"order: the promotion of version {version} was tried at {failed.at} and failed: {failed.details.get('reason')}; approve it "
                "again to try again (in the console: reject it, then approve it with other words than before)"
            )

    def _deployment(self, target: Target, previous: str | None) -> Deployment:
        return Deployment(
            self._release,
            target.package,
            "production",
            self._request.execution,
            self._release.model.production.instance_count,
            previous=previous,
            spelt_out=target.spelt_out,
        )

    def _serving(self, state: EndpointState) -> Serving:
        found = self._production.serving(state)
        return replace(found, autoscaling=self._autoscaling_of(found.config))

    def _autoscaling_of(self, config: str | None) -> Autoscaling | None:
        """The autoscaling of what served that endpoint config, by the ledger."""
        left = serving_history.deployment_of(self._ledger.events(), config)
        return left.autoscaling if left else None

    def _to_go_back_to(self, before: Serving) -> str:
        """The endpoint config to return to when the version turns out wrong: what production serves now; or, where that is a newer version
        that an ended try left and nobody looked over, what it served before that. A rollback leaves what serves now, whatever it is."""
        told = newest(self._ledger.events(), "promoted", "rolled_back")
        if self._request.intent == "rollback" or told is None or before.previous is None:
            return before.config
        is_unknown = before.previous == serving_history.Deployed.of(told).config and (before.version or 0) > (told.version or 0)
        return before.previous if is_unknown and self._clients.hosting.config(before.previous) is not None else before.config

    def _resume(self, target: Target, state: EndpointState, before: Serving) -> Promotion:
        """The endpoint serves the version. Either that is old news, or a try was killed before it told the ledger: what it left is done."""
        told = newest(self._ledger.events(), "promoted", "rolled_back")
        if told is not None and serving_history.Deployed.of(told).config == state.config:
            self._in_ledger = True
            if told.details.get("execution") == self._request.execution:
                self._reject_rolled_back(told.details.get("previous_version"))
            say(f"{self._production.endpoint} serves version {before.version} already: nothing is changed")
            self._tidy_up(state)
            return self._promotion(target, before.version, "unchanged", [])
        progress(
            f"{self._production.endpoint} serves version {before.version}, but was not looked over yet: an earlier try was ended"
        )
        new = self._deployment(target, before.previous)
        return self._finish(target, new, state, "updated" if before.previous else "created")

    def _finish(self, target: Target, new: Deployment, state: EndpointState, action: Action) -> Promotion:
        """Look the endpoint over; keep the version and tell the ledger, or give back what it served before."""
        previous = new.previous
        previous_version = self._clients.hosting.version_of(previous) if previous else None
        try:
            smoke = self._production.smoke_test(state, new)
            self._check_approval(target)
        except LeaseLost:
            raise
        except StepError as error:
            with cleaning_up_after(error):
                self._production.restore(previous, state.config, self._autoscaling_of(previous))
            back = f"it serves version {previous_version} again" if previous else "it was the first and is deleted"
            raise StepError(f"{error}; version {target.package.version} was taken out of production, {back}") from error
        self._production.settle(state, new)
        promotion = self._promotion(target, previous_version, action, smoke)
        self._record(target, state, promotion)
        self._in_ledger = True
        self._reject_rolled_back(previous_version)
        self._tidy_up(state)
        return promotion

    def _check_approval(self, target: Target) -> None:
        """An update may take hours: who takes the approval back in that time wants the version out of production."""
        if self._request.intent == "promotion" and (now := self._read(target.package.arn).approval_status) != "Approved":
            raise StepError(f"the approval of version {target.package.version} was taken back during the update: it is {now} now")

    def _tidy_up(self, state: EndpointState) -> None:
        """What earlier promotions left costs nothing: that it cannot be deleted now makes no promotion a failed one."""
        try:
            self._production.tidy_up(state)
        except StepError as error:
            say(f"what earlier promotions left stays for the next one: {error}")

    def _record(self, target: Target, state: EndpointState, promotion: Promotion) -> None:
        kind: Kind = "rolled_back" if self._request.intent == "rollback" else "promoted"
        model, package = self._release.model, target.package
        bounds = model.production.autoscaling
        left = serving_history.Deployed(
            endpoint=self._production.endpoint,
            config=state.config,
            instance_type=model.serving.instance_type,
            instance_count=model.production.instance_count,
            instance_bounds=(bounds.min_instances, bounds.max_instances) if bounds else None,
            autoscaling=bounds,
            container=dict(package.container),
            facts=dict(package.facts),
        )
        self._lease.confirm()
        self._ledger.append(
            kind,
            by=self._request.who,
            version=package.version,
            model_package=package.arn,
            details={
                "deployment": left.model_dump(mode="json"),
                "previous_version": promotion.previous_version,
                "action": promotion.action,
                "strategy": model.production.update.strategy,
                "prompt_checks": len(promotion.smoke),
                "seconds": promotion.seconds,
                "execution": self._request.execution,
                **({"comment": self._request.comment} if self._request.comment != NOT_GIVEN else {}),
            },
        )

    def _reject_rolled_back(self, left: JsonValue) -> None:
        """Reject the version that a rollback left: every later change of an approved version is an event, and would promote it again."""
        if self._request.intent != "rollback" or left is None:
            return
        arn = f"{self._request.model_package.rsplit('/', 1)[0]}/{left}"
        try:
            package = model_packages.read(self._clients.registry, arn)
        except InputError:
            return  # deleted
        if package.approval_status == "Approved":
            why = "" if self._request.comment == NOT_GIVEN else f": {self._request.comment}"
            comment = f"production was rolled back from it{why}"
            model_packages.reject(self._clients.registry, arn, f"{comment} (by {self._request.who})")
            decisions.note(self._ledger, "rejected", package, by=self._request.who, comment=comment)

    def _promotion(
        self, target: Target, previous: int | None, action: Action, smoke: list[prompt_checks.PromptCheckResult]
    ) -> Promotion:
        progress(f"{self._production.endpoint} serves version {target.package.version} ({action})")
        return Promotion(
            endpoint=self._production.endpoint,
            model_package=target.package.arn,
            version=target.package.version,
            previous_version=previous,
            action=action,
            smoke=smoke,
            seconds=round(time.monotonic() - self._started, 3),
        )
