"""`rollback`: production returns to a version that it served before, through the promotion pipeline: same lease, strategy, alarms, ledger."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from delivery.aws import accounts
from delivery.endpoint.hosting import Hosting
from delivery.history import changes, decisions, serving_history
from delivery.history.ledger import Event
from delivery.names import Fact
from pipelines.commands.versions import production_change
from pipelines.errors import UsageError, attach_facts
from pipelines.executions import following
from pipelines.next_command import command
from pipelines.released_model import ReleasedModel, open_model

_OLD_DAYS = 30


@dataclass(frozen=True)
class RollbackRequest:
    """One rollback, as it was asked for."""

    model: ReleasedModel
    current_version: int | None
    """The version that production serves now."""
    target: Event
    """The event that brought the version to return to into production."""
    comment: str
    is_again: bool = False
    """Whether it does what an earlier rollback to the same version left undone."""
    events: Sequence[Event] = ()
    """The ledger that it goes by, oldest first."""

    @property
    def endpoint(self) -> str:
        """The production endpoint."""
        return serving_history.DeployedVersion.of(self.target).endpoint

    def __str__(self) -> str:
        if self.is_again:
            return f"{self.model.name}: {self.endpoint} went back to {self.target.version}; what that left undone is done now"
        if self.current_version is None:
            return f"{self.model.name}: {self.endpoint} is put into service again with version {self.target.version}"
        return f"{self.model.name}: {self.endpoint} goes back from version {self.current_version} to {self.target.version}"


def rollback(name: str, env: str, to: int | None, comment: str, *, force: bool, follow: bool, as_json: bool) -> None:
    """Start it, and stay until production serves the earlier version again.

    Args:
        name: The model's name or file.
        env: A name in config/environments, or a path.
        to: The version to return to; None: the one that production served before.
        comment: Why; kept in the ledger. 200 characters at most.
        force: Return to a version that was rejected, rolled back from or retired since; needs a comment.
        follow: Stay until it is over; else print the execution and leave it running.
        as_json: Print one JSON object to standard output, progress to standard error.

    Raises:
        UsageError: It cannot be started.
        ExecutionError: It did not succeed.
    """
    model = open_model(name, env)
    events = model.ledger.events()
    serving = _serving(model, events)
    undone = _left_undone(model, events, to)
    target = undone or serving_history.returning_to(events, to, serving)
    request = RollbackRequest(model, serving, target, comment, undone is not None, events)
    progress = sys.stderr if as_json else sys.stdout
    print(request, file=progress)
    for line in _cautions(request, force=force):
        print(f"  {line}", file=progress)
    production_change.check_comment(comment)
    arn = production_change.start(
        model, "rollback", request.target.model_package or "", comment, str(request), seen=_seen(request, force=force)
    )
    facts = {"execution": arn, "from": request.current_version, "to": request.target.version}
    if not follow:
        again = command(env, "status", name)
        print(json.dumps({**facts, "status": "Executing"}) if as_json else f"execution {arn}\nsee: {again}")
        return
    with attach_facts(facts):
        promotion = following.follow_promotion(model, arn, progress)
    if as_json:
        print(json.dumps({**facts, "status": promotion.view.status, "production": promotion.production}))
    else:
        print(f"production: endpoint {request.endpoint} serves version {request.target.version} again")


def _left_undone(model: ReleasedModel, events: list[Event], to: int | None) -> Event | None:
    """Find the rollback that production serves by now and that has left something undone, unless another version is asked for."""
    now = serving_history.serving_now(events)
    if now is None or now.kind != "rolled_back" or to not in (None, now.version):
        return None
    approved = {version.number for version in model.versions() if version.approval_status == "Approved"}
    is_due = now in changes.rejections_due(events) and now.details["previous_version"] in approved
    return now if is_due or changes.unfinished(events) else None


def _serving(model: ReleasedModel, events: list[Event]) -> int | None:
    """Return the version that production serves or is being given.

    It is the endpoint's where that is newer than the ledger's, as when its promotion was ended before it was done.
    """
    known = serving_history.version_now(events)
    if known is None:
        return None
    there = accounts.production_session(model.environment, "rollback")
    hosting = Hosting(there.client("sagemaker"), there.client("logs"))
    state = hosting.state(serving_history.DeployedVersion.of(serving_history.serving_lineage(events)[-1]).endpoint)
    found = hosting.version_of(state.pending or state.config) if state else None
    return max(known, found or known)


def _seen(request: RollbackRequest, *, force: bool) -> int:
    """Return the last event that the rollback goes by. Where it only does what was left undone, nobody's rejection was overruled for it."""
    against = decisions.standing_rejection(request.events, request.target.version or 0)
    if against is not None and not (force and request.comment):
        return against.sequence - 1
    return len(request.events)


def _cautions(request: RollbackRequest, *, force: bool) -> Iterator[str]:
    """Yield what a person should know of the version that production returns to. UsageError when somebody is against it, and was not overruled."""
    events = request.events
    if request.current_version != serving_history.version_now(events):
        yield f"the promotion of version {request.current_version} was ended before it was done"
    known = {version.number: version for version in request.model.versions()}
    registered = known.get(request.target.version or 0)
    objection = decisions.objection(events, request.target.version or 0)
    if not objection and registered is not None and registered.approval_status == "Rejected":
        objection = "it is Rejected in the Model Registry"
    if objection and not request.is_again and not (force and request.comment):
        raise UsageError(
            f"version {request.target.version} was rejected since it was in production: {objection}; "
            f"{'with --force say why: --comment WHY' if force else '--force --comment WHY returns to it all the same'}"
        )
    if registered is None:
        yield f"version {request.target.version} is gone from the Model Registry; it is served as the ledger remembers it"
    elif registered.approval_status != "Approved":
        yield f"version {request.target.version} is {registered.approval_status} in the Model Registry"
    at = serving_history.DeployedVersion.of(request.target).facts.get(Fact.EVALUATED_AT)
    if at is None:
        yield f"when version {request.target.version} was evaluated is not known"
        return
    days = (datetime.now(UTC) - datetime.fromisoformat(at)).days
    if days > _OLD_DAYS:
        yield f"version {request.target.version} was evaluated {days} days ago; a rollback does not mind, a promotion would"
