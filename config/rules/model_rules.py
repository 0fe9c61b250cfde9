"""Every rule for a model file."""

from __future__ import annotations

import re
from collections.abc import Iterator

from config.rules import evaluation_rules, objective_rules, serving_rules
from config.rules.finding import Finding
from config.schema import ModelFile

_WITHOUT_TAG = re.compile(r"[^:@\s]+(/[^:@\s]+)+")


def findings(model: ModelFile) -> list[Finding]:
    """Return what is wrong with a model file, or worth a thought: all that the file alone tells."""
    return [
        *_weights(model),
        *_serving(model),
        *serving_rules.findings(model),
        *objective_rules.findings(model.evaluation),
        *evaluation_rules.findings(model.evaluation),
        *_production(model),
    ]


def _weights(model: ModelFile) -> Iterator[Finding]:
    for key in ("include", "exclude"):
        for index, pattern in enumerate(getattr(model.weights, key)):
            if not pattern.strip() or pattern.startswith("/") or "\\" in pattern:
                message = f"{pattern!r} matches nothing: a pattern is for a path inside the repository, as in *.json or figures/*"
                yield Finding(("weights", key, index), message, "pattern-matches-nothing")
    if "*" in model.weights.exclude:
        yield Finding(("weights", "exclude"), "'*' leaves nothing to fetch; name what is not to be fetched", "nothing-chosen")


def _serving(model: ModelFile) -> Iterator[Finding]:
    image = model.serving.image
    if image in {"project", "aws"}:
        return
    location = ("serving", "image")
    if not _WITHOUT_TAG.match(image) or ".dkr.ecr" not in image:
        message = (
            f"{image!r} will not do: expected project, aws, or an image in Amazon ECR, as in "
            "111122223333.dkr.ecr.us-west-2.amazonaws.com/NAME:TAG"
        )
        yield Finding(location, message, "image-address")
    elif image.endswith(":latest") or not re.search(r"(:[\w][\w.-]*|@sha256:[0-9a-f]{64})$", image):
        message = (
            f"{image!r} may be another image tomorrow: what was evaluated is what is promoted; name a tag of its own or a digest"
        )
        yield Finding(location, message, "image-moves", is_error=False)


def _production(model: ModelFile) -> Iterator[Finding]:
    for index, alarm in enumerate(model.production.alarms):
        if alarm.startswith("arn:"):
            message = f"{alarm!r} will not do: an alarm's name is expected; write {alarm.rpartition(':')[2]}"
            yield Finding(("production", "alarms", index), message, "alarm-name")
    bounds = model.production.autoscaling
    if bounds is not None and bounds.min_instances == bounds.max_instances:
        message = f"{bounds.max_instances} is min_instances too, so nothing scales; raise it, or leave autoscaling out"
        yield Finding(("production", "autoscaling", "max_instances"), message, "scaling-is-fixed", is_error=False)
