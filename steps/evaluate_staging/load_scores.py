"""One load's objectives, scored alone and beside production's numbers: while it is measured, and for the report."""

from __future__ import annotations

from loadtest.measurement.models import ProfileResult
from loadtest.measurement.scoring import profile_result
from loadtest.runner import ProfileRun
from steps.evaluate_staging.prepare import Prepared


def score_load(prepared: Prepared, instance_type: str, name: str, run: ProfileRun) -> ProfileResult:
    """Score what one load profile measured.

    Args:
        prepared: What `prepare` found: objectives, prices, and what production measured.
        instance_type: What it was measured on.
        name: The load profile's.
        run: What running it gave.

    Returns:
        The result.
    """
    release, evaluation = prepared.arguments.release, prepared.arguments.release.model.evaluation
    profile, price = evaluation.load_profiles[name], release.environment.instance_usd_per_hour.get(instance_type)
    return profile_result(
        profile.load,
        run.measurement,
        profile.objectives,
        usd_per_hour=price * evaluation.instance_count if price else None,
        lag_at_most_ms=evaluation.client_lag_at_most_ms,
        production=prepared.baseline.profile(name),
        incomparable=prepared.baseline.why_incomparable(name, f"{evaluation.instance_count} {instance_type}"),
        trials=run.trials,
        extra_metrics=run.extra_metrics,
    )
