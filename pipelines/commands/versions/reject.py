"""`reject`: a person turns a version down, with who and why, in the registry and in the ledger; nothing promotes it any more."""

from __future__ import annotations

from delivery.history import decisions, registry_decisions, serving_history
from delivery.history.ledger import Event
from delivery.registry import model_packages
from pipelines.commands.versions.decisions import DecisionResult, unchanged
from pipelines.errors import UsageError
from pipelines.next_command import command
from pipelines.released_model import ReleasedModel, caller, open_model


def reject(name: str, env: str, number: int, comment: str, *, force: bool) -> DecisionResult:
    """Reject a version; one that is rejected already is left alone.

    Args:
        name: The model's name or file.
        env: A name in config/environments, or a path.
        number: The version's, in the Model Registry.
        comment: Why; kept in the registry and in the ledger.
        force: Reject it although production serves it, and goes on to.

    Raises:
        UsageError: Production serves the version, and `force` is not given. Nothing was changed.
        DecisionOvertaken: Somebody else decided about the version at the same moment, and that stands.
    """
    model = open_model(name, env)
    package = model.version(number)
    seen = model.ledger.events()
    if package.approval_status == "Rejected":
        return unchanged(model, package, "rejected")
    now = serving_history.version_now(seen)
    if now == number and not force:
        raise UsageError(
            f"version {number} of {model.name} is what production serves, and would go on to; to take it out: {_way_out(model, seen)}; "
            "to reject it all the same: --force"
        )
    by = caller(model.environment)
    event = decisions.decide(model.ledger, "rejected", package, by=by, comment=comment, seen=seen)
    model_packages.reject(model.sagemaker, package.arn, registry_decisions.description("rejected", by, comment))
    registry_decisions.settle(model.ledger, model.sagemaker, package, event)
    events = model.ledger.events()
    is_served = serving_history.version_now(events) == number  # it may have been promoted between the look and the decision
    note = f"\nproduction goes on to serve it; to take it out: {_way_out(model, events)}" if is_served else ""
    text = f"{model.name}: version {number} is rejected; nothing promotes it{note}"
    return DecisionResult(model.name, number, package.arn, "rejected", by, True, text)


def _way_out(model: ReleasedModel, events: list[Event]) -> str:
    """Return the command that takes out of production what it serves."""
    if len(serving_history.serving_lineage(events)) > 1:
        return command(model.env, "rollback", model.name)
    return command(model.env, "retire", model.name, "--comment", "WHY")
