"""What `approve` and `reject` share: a person's decision about a version, noted in the registry and in the ledger. Idempotent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from delivery.history import decisions
from delivery.history.decisions import Decision
from delivery.registry.model_packages import ModelPackage
from pipelines.released_model import ReleasedModel

CLOCK_SKEW = timedelta(minutes=5)
"""How far this machine's clock and the registry's may be apart."""


@dataclass(frozen=True)
class DecisionResult:
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

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "model": self.model,
            "version": self.version,
            "model_package": self.arn,
            "decision": self.decision,
            "by": self.by,
            "changed": self.changed,
        }

    def show(self, *, as_json: bool) -> None:
        """Print it: one JSON object, or the text."""
        print(json.dumps(self.to_dict()) if as_json else self.text)


def unchanged(model: ReleasedModel, package: ModelPackage, decision: Decision, next_step: str = "") -> DecisionResult:
    """Return the result of a decision that stood there already: since when and by whom. `next_step` is a further line of the text."""
    last = decisions.last_decision(model.ledger.events(), package.version)
    known = last if last is not None and last.kind == decision else None
    since = f": {known.at} by {known.by}" if known else ""
    comment = known.details.get("comment") if known else ""
    text = (
        f"{model.name}: version {package.version} is {decision} already{since}{f', {comment!r}' if comment else ''}; "
        "nothing was changed"
    )
    return DecisionResult(
        model.name,
        package.version,
        package.arn,
        decision,
        known.by if known else "",
        False,
        f"{text}\n{next_step}" if next_step else text,
    )
