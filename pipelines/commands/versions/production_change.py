"""What `rollback` and `retire` share: a change of production that a person asks for, made by the pipeline `promotion`."""

from __future__ import annotations

from delivery.names import NOT_GIVEN, PROMOTION_PIPELINE
from pipelines.errors import UsageError
from pipelines.executions import sending
from pipelines.executions.execution import Executions
from pipelines.released_model import ReleasedModel, caller
from pipelines.setup.images import tag_images

_LONGEST_COMMENT = 200  # it becomes a container's argument: 256 characters (API reference of AppSpecification)


def check_comment(comment: str) -> None:
    """Raise UsageError when the comment is too long for the pipeline."""
    if len(comment) > _LONGEST_COMMENT:
        raise UsageError(f"the comment has {len(comment)} characters; {_LONGEST_COMMENT} at most")


def start(
    model: ReleasedModel, intent: str, model_package: str, comment: str, description: str, *, seen: int | None = None
) -> str:
    """Start the promotion pipeline; it is sent first where the one that is there is of an earlier release of this project, or none is.

    Args:
        model: Whose production is changed.
        intent: `rollback` or `retirement`.
        model_package: The ARN of the version that it is about.
        comment: Why; kept in the ledger.
        description: For the console.
        seen: The last event of the ledger that a rollback is asked for by: a later rejection stands. None: it does not matter.

    Returns:
        The execution's ARN.
    """
    executions = Executions(model.environment)
    known = {"Intent": intent, "LedgerSeen": NOT_GIVEN if seen is None else str(seen)}
    if not all(executions.takes(PROMOTION_PIPELINE, name, value) for name, value in known.items()):
        sending.send_shared(tag_images(model.environment), executions)
    parameters = {
        "ModelPackageArn": model_package,
        **known,
        "RequestedBy": caller(model.environment),
        "Comment": " ".join(comment.split()) or NOT_GIVEN,
    }
    return executions.start(PROMOTION_PIPELINE, parameters, description[:3072])
