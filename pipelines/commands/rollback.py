"""`rollback`: production returns to a version that it served before, through the promotion pipeline: same lease, strategy, alarms, ledger."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from delivery.aws import accounts
from delivery.endpoint.hosting import Hosting
from delivery.history import serving_history
from delivery.history.ledger import Event
from delivery.names import NOT_GIVEN, PROMOTION_PIPELINE, Fact
from pipelines.errors import UsageError, attach_facts
from pipelines.executions import following
from pipelines.executions.execution import Executions
from pipelines.next_command import command
from pipelines.released_model import ReleasedModel, caller, subject

_LONGEST_COMMENT = 200  # it becomes a container's argument: 256 characters (API reference of AppSpecification)
_OLD_DAYS = 30


@dataclass(frozen=True)
class Return:
    """One rollback, as it was asked for."""

    about: ReleasedModel
    leaving: int | None
    """The version that production serves now."""
    target: Event
    """The event that brought the version to return to into production."""
    comment: str

    @property
    def endpoint(self) -> str:
        """The production endpoint."""
        return serving_history.Deployed.of(self.target).endpoint

    def __str__(self) -> str:
        return f"{self.about.name}: {self.endpoint} goes back from version {self.leaving} to {self.target.version}"


def rollback(model: str, env: str, to: int | None, comment: str, *, force: bool, follow: bool, as_json: bool) -> None:
    """Start it, and stay until production serves the earlier version again. Errors when it cannot be started, or does not succeed."""
    about = subject(model, env)
    events = about.ledger.events()
    serving = _serving(about, events)
    asked = Return(about, serving, serving_history.returning_to(events, to, serving), comment)
    progress = sys.stderr if as_json else sys.stdout
    print(asked, file=progress)
    for line in _worth_saying(asked, force=force):
        print(f"  {line}", file=progress)
    if len(comment) > _LONGEST_COMMENT:
        raise UsageError(f"the comment has {len(comment)} characters; {_LONGEST_COMMENT} at most")
    arn = _start(asked, Executions(about.environment))
    facts = {"execution": arn, "from": asked.leaving, "to": asked.target.version}
    if not follow:
        again = command(env, "status", model)
        print(json.dumps({**facts, "status": "Executing"}) if as_json else f"execution {arn}\nsee: {again}")
        return
    with attach_facts(facts):
        ended = following.promotion(about, arn, progress)
    if as_json:
        print(json.dumps({**facts, "status": ended.view.status, "production": ended.promotion}))
    else:
        print(f"production: endpoint {asked.endpoint} serves version {asked.target.version} again")


def _serving(about: ReleasedModel, events: list[Event]) -> int | None:
    """The version that production serves or is being given: the endpoint's where it is newer than the ledger's, as when its promotion was
    ended before it was done."""
    known = serving_history.version_now(events)
    if known is None:
        return None
    there = accounts.production_session(about.environment, "rollback")
    hosting = Hosting(there.client("sagemaker"), there.client("logs"))
    state = hosting.state(serving_history.Deployed.of(serving_history.serving_lineage(events)[-1]).endpoint)
    found = hosting.version_of(state.pending or state.config) if state else None
    return max(known, found or known)


def _worth_saying(asked: Return, *, force: bool) -> Iterator[str]:
    """What a person should know of the version that production returns to. UsageError when it was rejected and `force` is not given."""
    if asked.leaving != serving_history.version_now(asked.about.ledger.events()):
        yield f"the promotion of version {asked.leaving} was ended before it was done"
    known = {version.number: version for version in asked.about.versions()}
    registered = known.get(asked.target.version or 0)
    if registered is None:
        yield f"version {asked.target.version} is gone from the Model Registry; it is served as the ledger remembers it"
    elif registered.approval_status == "Rejected" and not force:
        raise UsageError(
            f"version {asked.target.version} was rejected since it was in production; --force returns to it all the same"
        )
    elif registered.approval_status != "Approved":
        yield f"version {asked.target.version} is {registered.approval_status} in the Model Registry"
    at = serving_history.Deployed.of(asked.target).facts.get(Fact.EVALUATED_AT)
    if at is None:
        yield f"when version {asked.target.version} was evaluated is not known"
        return
    days = (datetime.now(UTC) - datetime.fromisoformat(at)).days
    if days > _OLD_DAYS:
        yield f"version {asked.target.version} was evaluated {days} days ago; a rollback does not mind, a promotion would"


def _start(asked: Return, executions: Executions) -> str:
    """Start the promotion pipeline; it is sent first where the one that is there is of an earlier release of this project, or none is."""
    if not executions.takes(PROMOTION_PIPELINE, "Intent"):
        from pipelines.executions import sending
        from pipelines.setup import images

        sending.send_shared(images.tagged(asked.about.environment), executions)
    parameters = {
        "ModelPackageArn": asked.target.model_package or "",
        "Intent": "rollback",
        "RequestedBy": caller(asked.about.environment),
        "Comment": " ".join(asked.comment.split()) or NOT_GIVEN,
    }
    return executions.start(PROMOTION_PIPELINE, parameters, str(asked)[:3072])
