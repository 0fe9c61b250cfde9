"""What was measured becomes an evaluation: lm-eval's tasks scored, and the verdict."""

from __future__ import annotations

from datetime import UTC, datetime

from delivery.names import Fact
from steps.evaluate_staging import verdicts
from steps.evaluate_staging.lm_eval.tasks import results
from steps.evaluate_staging.measure import Measured
from steps.evaluate_staging.models import IMAGE_DIGEST, Evaluation, InProduction
from steps.evaluate_staging.prepare import Prepared


def score(prepared: Prepared, measured: Measured) -> Evaluation:
    """Score everything that was measured and judge the version by it.

    Args:
        prepared: What `prepare` found: objectives, and what production measured.
        measured: What `measure` measured.

    Returns:
        The evaluation, without the suite over its requests.
    """
    arguments = prepared.arguments
    release, model = arguments.release, arguments.release.model
    instances = f"{model.evaluation.instance_count} {measured.staged.instance_type}"
    lm_eval = results(model.evaluation.lm_eval, measured.lm_eval, prepared.baseline.lm_eval, prepared.baseline.why_none)
    verdict, summary = verdicts.judge(measured.prompt_checks, measured.profiles, lm_eval, measured.unconfirmed)
    digest = prepared.image_facts.get(Fact.IMAGE_DIGEST)
    return Evaluation(
        model=release.name,
        version=prepared.package.version,
        model_package=arguments.model_package,
        execution=arguments.execution,
        evaluated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict,
        summary=summary,
        next_action=f"measure it again: {prepared.command_again}; where the model file must change for that, release it again"
        if verdict == "invalid"
        else "",
        command_again=prepared.command_again,
        environment={
            "repository": model.weights.repository,
            "revision": model.weights.revision,
            "image": release.serving_image,
            **({IMAGE_DIGEST: digest} if digest else {}),
            "instances": instances,
            **model.container_environment(),
        },
        production=_in_production(prepared, measured),
        prompt_checks=measured.prompt_checks,
        profiles=measured.profiles,
        beside=measured.beside,
        lm_eval=lm_eval,
        not_done=measured.not_done,
    )


def _in_production(prepared: Prepared, measured: Measured) -> InProduction | None:
    """Say what it was compared with."""
    reference, package = prepared.baseline.reference, prepared.baseline.package
    if not measured.beside or package is None:
        return reference
    return InProduction(version=package.version, report=reference.report if reference else "", is_beside=True)
