"""`retire`: a production endpoint is taken out of service, through the promotion pipeline: same lease, same ledger."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TextIO

import typer

from delivery.aws import accounts
from delivery.endpoint.hosting import Hosting
from delivery.history import changes, serving_history
from delivery.history.ledger import Event, newest
from pipelines.commands.versions import production_change
from pipelines.errors import CommandError, UsageError, attach_facts
from pipelines.executions import following
from pipelines.next_command import command
from pipelines.released_model import ReleasedModel, open_model

_KEPT = "every version in the Model Registry with its weights and evaluation, and the ledger"


@dataclass(frozen=True)
class RetirementRequest:
    """One retirement, as it was asked for."""

    model: ReleasedModel
    endpoint: str
    is_there: bool
    """Whether the endpoint is; one that is gone already is only told of."""
    served: Event
    """The ledger's event that brought what is served, or began to."""
    comment: str

    def __str__(self) -> str:
        return f"{self.model.name}: {self.endpoint}, which serves version {self.served.version}, is taken out of service"


def retire(name: str, env: str, comment: str, *, yes: bool, follow: bool, as_json: bool) -> None:
    """Start it, and stay until the endpoint is gone. Where a run of it was ended half-way, this one does the rest.

    Args:
        name: The model's name or file.
        env: A name in config/environments, or a path.
        comment: Why; kept in the ledger. 200 characters at most.
        yes: Do not ask at a terminal.
        follow: Stay until it is over; else print the execution and leave it running.
        as_json: Print one JSON object to standard output, progress to standard error.

    Raises:
        UsageError: It cannot be started.
        CommandError: Who was asked said no. Nothing was changed.
        ExecutionError: It did not succeed.
    """
    production_change.check_comment(comment)
    request = _request(open_model(name, env), comment)
    progress = sys.stderr if as_json else sys.stdout
    _explain(request, progress)
    if not yes and sys.stdin.isatty() and not typer.confirm("take it out of service?", err=True):
        raise CommandError(f"{request.endpoint} stays in service: nothing was changed")
    package = request.served.model_package or ""
    arn = production_change.start(request.model, "retirement", package, comment, str(request))
    facts = {"execution": arn, "endpoint": request.endpoint, "version": request.served.version}
    if not follow:
        again = command(env, "status", name)
        print(json.dumps({**facts, "status": "Executing"}) if as_json else f"execution {arn}\nsee: {again}")
        return
    with attach_facts(facts):
        ended = following.follow_promotion(request.model, arn, progress)
    if as_json:
        print(json.dumps({**facts, "status": ended.view.status, "production": None}))
    else:
        print(
            f"production: endpoint {request.endpoint} is out of service, and version {request.served.version} is rejected\n"
            f"to serve it again: {_again(request)}"
        )


def _request(model: ReleasedModel, comment: str) -> RetirementRequest:
    """Find what production serves. UsageError when it serves nothing, or nothing that this project made."""
    events = model.ledger.events()
    begun, retired = changes.open_change(events), newest(events, "retired")
    last = serving_history.serving_now(events) or retired or begun
    if last is None:
        raise UsageError(f"{model.name} was never in production: there is nothing to take out of service")
    endpoint = str(last.details.get("endpoint") or serving_history.DeployedVersion.of(last).endpoint)
    there = accounts.production_session(model.environment, "retire")
    hosting = Hosting(there.client("sagemaker"), there.client("logs"))
    state = hosting.state(endpoint)
    served = _served(events, hosting.version_of(state.config), endpoint) if state and state.config else last
    if state is None and served == begun:
        raise UsageError(f"{endpoint} does not exist, and never served a version: there is nothing to take out of service")
    return RetirementRequest(model, endpoint, state is not None, served, comment)


def _served(events: list[Event], version: int | None, endpoint: str) -> Event:
    """Return the last event that brought the version that the endpoint serves, or began to; UsageError when there is none."""
    known = [event for event in events if event.version == version and "deployment" in event.details]
    if version is None or not known:
        raise UsageError(f"the endpoint {endpoint} exists, but this project did not make what it serves: delete it in SageMaker")
    return known[-1]


def _explain(request: RetirementRequest, stream: TextIO) -> None:
    """Say what is deleted and what is kept."""
    gone = f"{request.model.name}: {request.endpoint} is gone already; what that left undone is done now"
    print(request if request.is_there else gone, file=stream)
    print(f"  deleted: the endpoint {request.endpoint}, its autoscaling and alarms, its endpoint configs and models", file=stream)
    print(f"  kept: {_KEPT}", file=stream)
    print(f"  version {request.served.version} is rejected, so that no late event promotes it again", file=stream)


def _again(request: RetirementRequest) -> str:
    """Return the command that puts the version into production again."""
    return command(
        request.model.env, "rollback", request.model.name, "--to", request.served.version, "--force", "--comment", "WHY"
    )
