"""`approve`: a person lets a version into production, with who and why, in the registry and in the ledger; an event starts its promotion."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import boto3
from pydantic import JsonValue

from delivery.endpoint import lease
from delivery.history import changes, decisions, registry_decisions, serving_history
from delivery.history.ledger import Event
from delivery.names import PROMOTION_PIPELINE, Fact
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage
from pipelines.commands.versions.decisions import CLOCK_SKEW, DecisionResult, unchanged
from pipelines.errors import UsageError, attach_facts
from pipelines.executions import following
from pipelines.next_command import command
from pipelines.released_model import ReleasedModel, caller, open_model


def approve_and_follow(name: str, env: str, number: int, comment: str, *, force: bool, as_json: bool) -> None:
    """Approve a version and stay until its promotion is over. Arguments as of `approve`.

    Raises:
        UsageError: No rule starts a promotion here, or the version was approved before.
        ExecutionError: The promotion failed, or none was started.
    """
    model = open_model(name, env)
    asked_at = datetime.now(UTC)
    package = model.version(number)
    before = set(following.list_promotions(model, package.arn, asked_at - CLOCK_SKEW))
    if not _rules(model):
        raise UsageError(
            f"no EventBridge rule starts a promotion here: approve without --follow, then {_start_by_hand(model, package)}"
        )
    approval = approve(name, env, number, comment, force=force)
    progress = sys.stderr if as_json else sys.stdout
    print(approval.text, file=progress)
    with attach_facts(approval.to_dict()):
        if not approval.changed:
            raise UsageError(f"version {number} was approved before: there is nothing to follow")
        arn = following.wait_for_promotion(model, package.arn, asked_at, not_among=before)
        promotion = following.follow_promotion(model, arn, progress)
    if as_json:
        print(json.dumps({**approval.to_dict(), "status": promotion.view.status, "production": promotion.production}))
    elif promotion.production:
        print(following.production_line(promotion.production))


def approve(name: str, env: str, number: int, comment: str, *, force: bool) -> DecisionResult:
    """Approve a version; one that is approved already is left alone, unless its promotion failed since, or was ended half-way.

    Args:
        name: The model's name or file.
        env: A name in config/environments, or a path.
        number: The version's, in the Model Registry.
        comment: Why; kept in the registry and in the ledger.
        force: Approve it although the gate refused it, a person rejected it, or production was rolled back from it; needs a comment.

    Raises:
        UsageError: Something is against the version, and `force` is not given. Nothing was changed.
        DecisionOvertaken: Somebody else decided about the version at the same moment, and that stands.
    """
    model = open_model(name, env)
    package = model.version(number)
    if package.approval_status == "Rejected":
        registry_decisions.note_if_made_elsewhere(model.ledger, package)  # in the console: a person's, as much as one of `reject`
    seen = model.ledger.events()
    of_gate = _objection(package)
    objection = "; ".join(filter(None, (decisions.objection(seen, number), of_gate)))
    tried = decisions.failed_try(seen, number) or _left_undone(model, seen, number)
    if package.approval_status == "Approved" and tried is None and not decisions.standing_rejection(seen, number):
        now = serving_history.version_now(seen) == package.version
        next_step = "production serves it" if now else f"to promote it: {_start_by_hand(model, package)}"
        return unchanged(model, package, "approved", next_step)
    if objection:
        _require_reason(model, package, objection, comment, force=force)
    by = caller(model.environment)
    if of_gate:
        model_packages.annotate(model.sagemaker, package.arn, {Fact.GATE_WAIVED_BY: by})
    details: dict[str, JsonValue] = {"despite": objection} if objection else {}
    if tried is not None:
        details["after"] = f"event {tried.sequence}"
    event = decisions.decide(model.ledger, "approved", package, by=by, comment=comment, seen=seen, **details)
    if package.approval_status == "Approved":
        model_packages.reopen(model.sagemaker, package.arn, "approved again")
    model_packages.approve(model.sagemaker, package.arn, registry_decisions.description("approved", by, comment))
    registry_decisions.settle(model.ledger, model.sagemaker, package, event)
    how = "failed" if tried is not None and tried.kind == "refused" else "was ended half-way"
    again = f" again, after its promotion {how} at {tried.at}" if tried else ""
    text = (
        f"{model.name}: version {number} is approved{again}{f', although {objection}' if objection else ''}\n"
        f"{_next_step(model, package)}"
    )
    return DecisionResult(model.name, number, package.arn, "approved", by, True, text)


def _left_undone(model: ReleasedModel, events: list[Event], version: int) -> Event | None:
    """Find what a promotion of the version left half-way or unfinished; None while somebody works on the endpoint."""
    now, begun = serving_history.serving_now(events), changes.open_changes(events)
    of_version = [change for change in begun if (change.version, change.details["intent"]) == (version, "promotion")]
    found = of_version[-1] if of_version else None
    if now is not None and now.version == version and changes.unfinished(events):
        found = now
    if found is None:
        return None
    endpoint = found.details.get("endpoint") or serving_history.DeployedVersion.of(found).endpoint
    stated = lease.read(model.s3, model.environment.bucket, str(endpoint))
    return None if stated is not None and stated[1] else found


def _require_reason(model: ReleasedModel, package: ModelPackage, objection: str, comment: str, *, force: bool) -> None:
    """Raise UsageError unless the objection may be overruled, and is, with a comment."""
    evaluated = package.facts.get(Fact.EVALUATION_REPORT) is not None
    if not (force and evaluated):
        hint = "; --force --comment WHY approves it all the same" if evaluated else ""
        if package.approval_status == "PendingManualApproval" and package.facts.get(Fact.EVALUATION_VERDICT) in {"invalid", None}:
            hint = f"; measure it again: {command(model.env, 'evaluate', model.name, package.version)}{hint}"
        raise UsageError(f"version {package.version} of {model.name} is not approved: {objection}{hint}")
    if not comment:
        raise UsageError(
            f"version {package.version} of {model.name} is not approved: {objection}; with --force say why: --comment WHY"
        )


def _objection(package: ModelPackage) -> str:
    """Say why the gate's verdict is no reason to approve; empty when it is."""
    verdict = package.facts.get(Fact.EVALUATION_VERDICT)
    if package.facts.get(Fact.EVALUATION_REPORT) is None:
        return "it was never evaluated: there is nothing to go by, and no promotion would take it"
    if verdict == "passed":
        return ""
    return f"the gate's verdict is {verdict!r} (its report: {package.facts[Fact.EVALUATION_REPORT]})"


def _next_step(model: ReleasedModel, package: ModelPackage) -> str:
    """Say what happens now: a rule starts the promotion, or a person has to."""
    rules = _rules(model)
    if rules:
        return f"the rule {rules[0]} starts the pipeline {PROMOTION_PIPELINE} with it; see: {command(model.env, 'status', model.name)}"
    return f"no EventBridge rule starts the pipeline {PROMOTION_PIPELINE} here; start it: {_start_by_hand(model, package)}"


def _start_by_hand(model: ReleasedModel, package: ModelPackage) -> str:
    return (
        f"aws sagemaker start-pipeline-execution --region {model.environment.region} --pipeline-name {PROMOTION_PIPELINE} "
        f"--pipeline-parameters Name=ModelPackageArn,Value={package.arn}"
    )


def _rules(model: ReleasedModel) -> list[str]:
    """List the enabled EventBridge rules whose target is the promotion pipeline."""
    environment = model.environment
    events = boto3.client("events", region_name=environment.region)
    partition = environment.roles.pipeline.split(":")[1]
    pipeline = f"arn:{partition}:sagemaker:{environment.region}:{environment.account_id}:pipeline/{PROMOTION_PIPELINE}"
    names = events.list_rule_names_by_target(TargetArn=pipeline)["RuleNames"]
    return [name for name in names if events.describe_rule(Name=name)["State"] != "DISABLED"]
