"""`evaluate`: a registered version measured again, from EvaluateStaging on as a release does it. No new version, no new fetch."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from config.schema import Release
from delivery.aws import s3
from delivery.history import decisions, serving_history
from delivery.history.ledger import Event
from delivery.names import EVALUATION_STEPS, Fact, evaluation_pipeline_name, pipeline_name
from delivery.registry.model_packages import ModelPackage
from pipelines.commands.releases.release import follow_release
from pipelines.definitions import documents
from pipelines.errors import CommandError, UsageError
from pipelines.executions.execution import Executions
from pipelines.next_command import command
from pipelines.released_model import ReleasedModel, open_model
from pipelines.setup.images import tag_images

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_s3 import S3Client


def evaluate(name: str, env: str, number: int, *, force: bool, follow: bool, as_json: bool) -> None:
    """Start it, and stay until the gate has decided, and production is updated where the gate's verdict is enough.

    Args:
        name: The model's name or file.
        env: A name in config/environments, or a path.
        number: The version's, in the Model Registry.
        force: Measure it although it has a verdict; the new one counts.
        follow: Stay until it is over; else print the execution and leave it running.
        as_json: Print one JSON object to standard output, progress to standard error.

    Raises:
        UsageError: Somebody decided about the version, it has a verdict, or it is being evaluated. Nothing was started.
        ExecutionError: The execution failed, the numbers decide nothing, or the gate refused the version.
    """
    model = open_model(name, env)
    package = model.version(number)
    executions = Executions(model.environment)
    if (
        refusal := _decided(model, package)
        or _under_way(model, package, executions)
        or ("" if force else _judged(model, package))
    ):
        raise UsageError(f"version {number} of {model.name} is not evaluated: {refusal}")
    location = package.facts.get(Fact.RELEASE_FILE, "")
    release = _read_release(location, package, model.s3).model_copy(update={"environment": tag_images(model.environment)})
    document = documents.evaluation_document(release, location)
    executions.upsert(document.name, document.definition, document.description)
    # Of two commands at the same moment, which see the same executions, both get the same one.
    once = f"version-{number}-{executions.count(document.name) + 1}"
    arn = executions.start(
        document.name,
        {"ModelPackageArn": package.arn, "ReleaseFile": location},
        f"{model.name}: version {number} again",
        only_once=once,
    )
    if follow:
        again = command(env, "evaluate", name, number)
        follow_release(name, env, release, executions, arn, as_json=as_json, steps=EVALUATION_STEPS, again=again)
    elif as_json:
        print(json.dumps({"execution": arn, "version": number, "status": "Executing"}))
    else:
        print(f"{model.name}: execution {arn}\nfollow it: {command(env, 'follow', name)}")


def _decided(model: ReleasedModel, package: ModelPackage) -> str:
    """Say what decides against another evaluation, whatever is given: what serves, or a decision. Empty when nothing does."""
    events, number = model.ledger.events(), package.version
    again = f"to measure the same weights, release them as a new version: {command(model.env, model.name)}"
    overrule = command(model.env, "approve", model.name, number, "--force", "--comment", "WHY")
    if serving_history.version_now(events) == number:
        return f"production serves it, and later versions are compared with the evaluation that it has; {again}"
    if package.approval_status == "Approved":
        return f"it is approved, by the evaluation that it has; {again}"
    if package.approval_status == "Rejected" or decisions.standing_rejection(events, number):
        return f"{_rejection(events, package)}; whoever wants it in production all the same: {overrule}; {again}"
    return ""


def _rejection(events: list[Event], package: ModelPackage) -> str:
    """Say who rejected the version and why."""
    if against := decisions.objection(events, package.version):
        return against
    last = decisions.last_decision(events, package.version)
    if last is not None and last.by.startswith(decisions.GATE):
        return f"the gate rejected it at {last.at}, {str(last.details.get('comment'))!r}"
    return f"it is rejected, {package.approval_description!r}"


def _judged(model: ReleasedModel, package: ModelPackage) -> str:
    """Say which verdict the version has; empty when it has none."""
    verdict, at = package.facts.get(Fact.EVALUATION_VERDICT), package.facts.get(Fact.EVALUATED_AT)
    if verdict == "passed":
        to_approve = command(model.env, "approve", model.name, package.version, "--comment", "WHY")
        return f"it passed at {at}, and waits for a person: {to_approve}; --force measures it again, and the new verdict counts"
    if verdict == "failed":
        to_reject = command(model.env, "reject", model.name, package.version, "--comment", "WHY")
        return f"it failed at {at}; {to_reject}; --force measures it again, and the new verdict counts"
    return ""


def _under_way(model: ReleasedModel, package: ModelPackage, executions: Executions) -> str:
    """Say which execution evaluates the version now; empty when none does."""
    registered_by = package.facts.get(Fact.EXECUTION, "")
    releases = [arn for arn in executions.unfinished(pipeline_name(model.name)) if arn.rsplit("/", 1)[1] == registered_by]
    again = [
        arn
        for arn in executions.unfinished(evaluation_pipeline_name(model.name))
        if executions.parameter(arn, "ModelPackageArn") == package.arn
    ]
    found = [*releases, *again]
    return f"{found[0]} is under way with it; follow it: {command(model.env, 'follow', model.name)}" if found else ""


def _read_release(location: str, package: ModelPackage, client: S3Client) -> Release:
    """Read the release file that the version was registered from. Its folder is named by its digest."""
    body = s3.read(client, s3.S3Uri.parse(location)) if location else None
    if body is None or hashlib.sha256(body).hexdigest() not in location.split("/"):
        raise CommandError(
            f"the release file of {package.arn}, {location or 'which it does not name'}, is gone, or was changed; release the model file again"
        )
    return Release.model_validate_json(body)
