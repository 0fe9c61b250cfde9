"""How much runs of one version differ: what `evaluation.baseline: stored` must allow for, since it compares runs of different hours and instances.

Learnt from the ledger: of versions that were measured more than once (`evaluate MODEL VERSION`), how far the logarithms of a metric are apart. A
few runs say little, so they count together with what is usual (`comparison.USUAL_RUN_TO_RUN`), with the weight of four comparisons. What each run
varies by itself is in it, too: it is an upper bound.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from delivery.aws import s3
from delivery.errors import DeliveryError
from delivery.history.ledger import Event
from loadtest.measurement.comparison import USUAL_RUN_TO_RUN
from loadtest.profiles import LoadProfile
from steps.evaluate_staging.models import Evaluation

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)

_USUAL_WEIGHT = 4
_READ_AT_MOST = 20
"""Evaluations, the newest: each is a request, and what a load was like years ago says little."""


def read(events: Iterable[Event], profiles: Mapping[str, LoadProfile], client: S3Client) -> dict[str, dict[str, float]]:
    """Read what was measured more than once.

    Args:
        events: The ledger's.
        profiles: The load profiles that are going to be measured.
        client: S3's.

    Returns:
        Load profile → metric of its relative objectives → the standard deviation of its logarithm between runs of one version.
    """
    runs = _evaluations(_repeated(events), client) if any(profile.is_relative for profile in profiles.values()) else []
    return {
        name: {
            metric: standard_deviation(_values(runs, name, profile, metric))
            for metric, objective in profile.objectives.items()
            if objective.relative is not None
        }
        for name, profile in profiles.items()
        if profile.is_relative
    }


def standard_deviation(runs: Iterable[Iterable[float]]) -> float:
    """Return by how much the logarithm of a metric differs from run to run.

    Args:
        runs: For each version, what its runs measured.

    Example:
        >>> standard_deviation([])
        0.02
        >>> round(standard_deviation([[100, 110]] * 20), 3)
        0.062
    """
    squares, comparisons = _USUAL_WEIGHT * USUAL_RUN_TO_RUN**2, _USUAL_WEIGHT
    for values in runs:
        logs = [math.log(value) for value in values if 0 < value < math.inf]
        if len(logs) > 1:
            mean = sum(logs) / len(logs)
            squares += sum((one - mean) ** 2 for one in logs)
            comparisons += len(logs) - 1
    return math.sqrt(squares / comparisons)


def _repeated(events: Iterable[Event]) -> list[Event]:
    """List the newest evaluations of versions that have several."""
    by_version: dict[int | None, list[Event]] = defaultdict(list)
    for event in events:
        if event.kind == "evaluated" and event.details.get("verdict") != "invalid":
            by_version[event.version].append(event)
    several = [event for found in by_version.values() if len(found) > 1 for event in found]
    return sorted(several, key=lambda event: event.sequence)[-_READ_AT_MOST:]


def _evaluations(events: Iterable[Event], client: S3Client) -> list[Evaluation]:
    """Read the evaluations; one that cannot be read is left out: what is usual counts still."""
    found = []
    for event in events:
        try:
            body = s3.read(client, s3.S3Uri.parse(str(event.details["report"])))
            if body is not None:
                found.append(Evaluation.model_validate_json(body))
        except (DeliveryError, ValidationError, ValueError, KeyError) as error:
            logger.info(f"how runs of version {event.version} differ is not known of {event.details.get('report')}: {error}")
    return found


def _values(runs: Iterable[Evaluation], name: str, profile: LoadProfile, metric: str) -> list[list[float]]:
    """Return what each version measured of a metric under the same load on the same instances, in all of its runs."""
    found: dict[tuple[int, str], list[float]] = defaultdict(list)
    for run in runs:
        result = run.profiles.get(name)
        value = result.metrics.get(metric) if result is not None and result.load == profile.load else None
        if value is not None:
            found[run.version, run.environment.get("instances", "")].append(value)
    return list(found.values())
