"""`approve` and `reject`: a person's decision about a version, with who and why, in the registry and in the ledger."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from delivery.history import decisions, serving_history
from delivery.history.decisions import Decision
from delivery.names import PROMOTION_PIPELINE, Fact
from delivery.registry import model_packages
from pipelines.errors import UsageError, attach_facts
from pipelines.next_command import command
from pipelines.released_model import ReleasedModel, caller, subject

_CLOCKS = timedelta(minutes=5)
"""How far this machine's clock and the registry's may be apart."""


@dataclass(frozen=True)
class Outcome:
    """What a decision led to."""

    model: str
    version: int
    arn: str
    decision: Decision
    by: str
    changed: bool
    """False when it stood there already."""
    text: str
    """For a person: what was done, and what happens next."""

    def facts(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "model": self.model,
            "version": self.version,
            "model_package": self.arn,
            "decision": self.decision,
            "by": self.by,
            "changed": self.changed,
        }

    def say(self, *, as_json: bool) -> None:
        """Print it: one JSON object, or the text."""
        print(json.dumps(self.facts()) if as_json else self.text)


def approve_and_follow(model: str, env: str, number: int, comment: str, *, force: bool, as_json: bool) -> None:
    """Approve a version and stay until its promotion is over. UsageError where no rule starts one, or it was approved before."""
    from pipelines.executions import following

    about = subject(model, env)
    asked_at = datetime.now(UTC)
    version = about.version(number)
    before = set(following.promotions_of(about, version.arn, asked_at - _CLOCKS))
    if not _rules(about):
        raise UsageError(
            f"no EventBridge rule starts a promotion here: approve without --follow, then {_start_by_hand(about, version)}"
        )
    outcome = approve(model, env, number, comment, force=force)
    progress = sys.stderr if as_json else sys.stdout
    print(outcome.text, file=progress)
    with attach_facts(outcome.facts()):
        if not outcome.changed:
            raise UsageError(f"version {number} was approved before: there is nothing to follow")
        ended = following.promotion(about, following.started_by_event(about, version.arn, asked_at, not_among=before), progress)
    if as_json:
        print(json.dumps({**outcome.facts(), "status": ended.view.status, "production": ended.promotion}))
    elif ended.promotion:
        print(f"production: endpoint {ended.promotion['endpoint']} serves version {ended.promotion['version']}")


def approve(model: str, env: str, number: int, comment: str, *, force: bool) -> Outcome:
    """Approve a version. UsageError, and nothing changed, when it did not pass its gate and `force` does not say that it need not."""
    about = subject(model, env)
    package = about.version(number)
    against = _against(package)
    tried = decisions.failed_try(about.ledger.events(), number)
    if package.approval_status == "Approved" and tried is None:
        return _already(about, package, "approved")
    if against and (not force or package.facts.get(Fact.EVALUATION_REPORT) is None):
        hint = "" if package.facts.get(Fact.EVALUATION_REPORT) is None else "; --force --comment WHY approves it all the same"
        raise UsageError(f"version {number} of {about.name} is not approved: {against}{hint}")
    if against and not comment:
        raise UsageError(f"version {number} of {about.name} is not approved: {against}; with --force say why: --comment WHY")
    by = caller(about.environment)
    if against:
        model_packages.annotate(about.sagemaker, package.arn, {Fact.GATE_WAIVED_BY: by})
    if package.approval_status == "Approved":
        model_packages.reopen(about.sagemaker, package.arn, "approved again")
    model_packages.approve(about.sagemaker, package.arn, _description("approved", by, comment))
    details: dict[str, JsonValue] = {"despite": against} if against else {}
    not_before = _recently()
    if tried is not None:
        details["after"] = f"event {tried.sequence}"
        not_before = datetime.fromisoformat(tried.at)
    decisions.note(about.ledger, "approved", package, by=by, comment=comment, not_before=not_before, **details)
    again = f" again, after its promotion failed at {tried.at}" if tried else ""
    text = (
        f"{about.name}: version {number} is approved{again}{f', although {against}' if against else ''}\n{_next(about, package)}"
    )
    return Outcome(about.name, number, package.arn, "approved", by, True, text)


def reject(model: str, env: str, number: int, comment: str, *, force: bool) -> Outcome:
    """Reject a version. UsageError, and nothing changed, when production serves it and `force` does not say that it may go on so."""
    about = subject(model, env)
    package = about.version(number)
    if package.approval_status == "Rejected":
        return _already(about, package, "rejected")
    now = serving_history.version_now(about.ledger.events())
    if now == number and not force:
        raise UsageError(
            f"version {number} of {about.name} is what production serves, and would go on to; to take it out: "
            f"{command(about.env, 'rollback', about.name)}; to reject it all the same: --force"
        )
    by = caller(about.environment)
    model_packages.reject(about.sagemaker, package.arn, _description("rejected", by, comment))
    decisions.note(about.ledger, "rejected", package, by=by, comment=comment, not_before=_recently())
    note = "\nproduction goes on to serve it" if now == number else ""
    return Outcome(
        about.name,
        number,
        package.arn,
        "rejected",
        by,
        True,
        f"{about.name}: version {number} is rejected; nothing promotes it{note}",
    )


def _against(package: model_packages.ModelPackage) -> str:
    """Why the gate's verdict is no reason to approve; empty when it is."""
    verdict = package.facts.get(Fact.EVALUATION_VERDICT)
    if package.facts.get(Fact.EVALUATION_REPORT) is None:
        return "it was never evaluated: there is nothing to go by, and no promotion would take it"
    return (
        "" if verdict == "passed" else f"the gate's verdict is {verdict!r} (its report: {package.facts[Fact.EVALUATION_REPORT]})"
    )


def _already(about: ReleasedModel, package: model_packages.ModelPackage, decision: Decision) -> Outcome:
    """It stands there already: say since when and by whom, change nothing."""
    last = decisions.last_decision(about.ledger.events(), package.version)
    known = last if last is not None and last.kind == decision else None
    since = f": {known.at} by {known.by}" if known else ""
    said = known.details.get("comment") if known else ""
    text = f"{about.name}: version {package.version} is {decision} already{since}{f', {said!r}' if said else ''}; nothing was changed"
    if decision == "approved":
        now = serving_history.version_now(about.ledger.events()) == package.version
        text += "\nproduction serves it" if now else f"\nto promote it: {_start_by_hand(about, package)}"
    return Outcome(about.name, package.version, package.arn, decision, known.by if known else "", False, text)


def _next(about: ReleasedModel, package: model_packages.ModelPackage) -> str:
    """What happens now: a rule starts the promotion, or a person has to."""
    rules = _rules(about)
    if rules:
        return f"the rule {rules[0]} starts the pipeline {PROMOTION_PIPELINE} with it; see: {command(about.env, 'status', about.name)}"
    return f"no EventBridge rule starts the pipeline {PROMOTION_PIPELINE} here; start it: {_start_by_hand(about, package)}"


def _start_by_hand(about: ReleasedModel, package: model_packages.ModelPackage) -> str:
    return (
        f"aws sagemaker start-pipeline-execution --region {about.environment.region} --pipeline-name {PROMOTION_PIPELINE} "
        f"--pipeline-parameters Name=ModelPackageArn,Value={package.arn}"
    )


def _rules(about: ReleasedModel) -> list[str]:
    """The enabled EventBridge rules whose target is the promotion pipeline."""
    import boto3

    events = boto3.client("events", region_name=about.environment.region)
    partition = about.environment.roles.pipeline.split(":")[1]
    pipeline = (
        f"arn:{partition}:sagemaker:{about.environment.region}:{about.environment.account_id}:pipeline/{PROMOTION_PIPELINE}"
    )
    names = events.list_rule_names_by_target(TargetArn=pipeline)["RuleNames"]
    return [name for name in names if events.describe_rule(Name=name)["State"] != "DISABLED"]


def _description(decision: Decision, by: str, comment: str) -> str:
    """What the registry keeps as ApprovalDescription."""
    return f"{decision} by {by}{f': {comment}' if comment else ''}"


def _recently() -> datetime:
    """VerifyApproval, started by the change in the registry, may have noted this decision before us."""
    return datetime.now(UTC) - _CLOCKS
