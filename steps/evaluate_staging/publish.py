"""Third phase of an evaluation: score what was measured and record it, in files, on the version, in the ledger, in CloudWatch.

The verdict is what the step exists for. A decoration that cannot be recorded (the page, the data docs, a metric) never undoes it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from config.schema import Release
from delivery.aws.client_errors import translate_client_errors
from delivery.errors import DeliveryError
from delivery.history.ledger import Ledger
from delivery.job.frame import progress
from delivery.names import EVALUATION_FILE, REPORT_PAGE, Fact
from delivery.registry import model_packages
from loadtest.measurement import request_table
from loadtest.runner import ProfileRun
from steps.evaluate_staging import expectations
from steps.evaluate_staging.measure import Measured
from steps.evaluate_staging.models import Evaluation, Expectations
from steps.evaluate_staging.prepare import Prepared
from steps.evaluate_staging.scoring import score
from steps.evaluate_staging.verdicts import number

logger = logging.getLogger(__name__)

_NAMESPACE = "Release/Evaluation"
_FACT_LIMIT = 40  # of the 50 that a version may have


def publish(prepared: Prepared, measured: Measured) -> Evaluation:
    """Score what was measured, write OUTPUT/evaluation.json and the report beside it, note the verdict on the version and in the ledger.

    Args:
        prepared: What `prepare` found.
        measured: What `measure` measured.

    Returns:
        The evaluation, as it was written.

    Raises:
        DeliveryError: The registry or the ledger could not be written to.
    """
    arguments = prepared.arguments
    release, folder = arguments.release, arguments.output
    evaluation = score(prepared, measured)
    folder.mkdir(parents=True, exist_ok=True)
    evaluation = write_report(evaluation, release, measured.loads, prepared.baseline.evaluation, folder)
    body = (evaluation.model_dump_json(indent=2) + "\n").encode()
    (folder / EVALUATION_FILE).write_bytes(body)
    facts = _facts(release, evaluation, hashlib.sha256(body).hexdigest()) | prepared.image_facts
    model_packages.annotate(prepared.sagemaker, arguments.model_package, facts)
    _note_verdict(prepared.ledger, evaluation, facts)
    _send_metrics(evaluation, release.environment.region)
    logger.info(f"{evaluation.verdict}: {evaluation.summary}")
    progress(f"{evaluation.verdict}: {evaluation.summary}")
    return evaluation


def write_report(
    evaluation: Evaluation, release: Release, loads: Mapping[str, ProfileRun], production: Evaluation | None, folder: Path
) -> Evaluation:
    """Write requests.parquet, the data docs and the report into `folder`; return the evaluation with what the suite found."""
    progress("writing the report")
    rows = request_table.build({name: outcome.measurement for name, outcome in loads.items()})
    request_table.write(rows, folder / "requests.parquet")
    suite = _check_expectations(rows, release, folder / "data_docs")
    evaluation = evaluation.model_copy(update={"expectations": suite})
    _draw_page(evaluation, production, folder / REPORT_PAGE)
    return evaluation


def _draw_page(evaluation: Evaluation, production: Evaluation | None, page: Path) -> None:
    from steps.evaluate_staging import report  # deferred: matplotlib costs a second, and is needed last

    try:
        page.write_text(report.render(evaluation, production), encoding="utf-8")
    except Exception as error:  # noqa: BLE001  (a library's, of any kind; a stored evaluation can be drawn again)
        logger.warning(f"the report could not be drawn: {type(error).__name__}: {error}; the verdict stands without it")


def _check_expectations(rows: dict[str, list[Any]], release: Release, docs: Path) -> Expectations | None:
    """Run the suite. It decides nothing, so its own failure must not cost a verdict that an hour of an endpoint was paid for."""
    try:
        return expectations.check(rows, release.model.evaluation.load_profiles, docs)
    except Exception as error:  # noqa: BLE001  (a library's, of any kind)
        failed = f"great_expectations itself failed: {type(error).__name__}: {error}"
        logger.warning(failed)
        return Expectations(success=False, checked=0, failed=[failed])


def _facts(release: Release, evaluation: Evaluation, sha256: str) -> dict[str, str]:
    """Return what the registry keeps: the verdict, where the report is, its digest, the headline numbers."""
    found = {
        Fact.EVALUATION_VERDICT: evaluation.verdict,
        Fact.EVALUATION_REPORT: f"{release.evaluations_prefix}/{evaluation.execution}/{EVALUATION_FILE}",
        Fact.EVALUATION_SHA256: sha256,
        Fact.EVALUATED_AT: evaluation.evaluated_at,
    }
    numbers = [
        (f"evaluation:{name}:{metric}", number(result.value))
        for name, profile in evaluation.profiles.items()
        for metric, result in profile.objectives.items()
    ] + [(f"evaluation:lm_eval:{task}", number(result.value)) for task, result in evaluation.lm_eval.items()]
    return {str(key): value for key, value in found.items()} | dict(numbers[: _FACT_LIMIT - len(found)])


def _note_verdict(ledger: Ledger, evaluation: Evaluation, facts: Mapping[str, str]) -> None:
    """Write the verdict into the ledger, and which report it stands in."""
    ledger.append_once(
        "evaluated",
        by=evaluation.execution,
        version=evaluation.version,
        model_package=evaluation.model_package,
        details={
            "verdict": evaluation.verdict,
            "summary": evaluation.summary,
            "report": facts[Fact.EVALUATION_REPORT],
            "sha256": facts[Fact.EVALUATION_SHA256],
        },
    )


def _send_metrics(evaluation: Evaluation, region: str) -> None:
    """Send every metric by model, version and profile, and every lm-eval score, so that versions can be seen beside one another."""
    version = {"Model": evaluation.model, "Version": str(evaluation.version)}
    data = [
        _datum(metric, value, {**version, "Profile": name})
        for name, profile in evaluation.profiles.items()
        for metric, value in profile.metrics.items()
        if value is not None
    ] + [
        _datum(f"lm_eval_{task}", result.value, version)
        for task, result in evaluation.lm_eval.items()
        if result.value is not None
    ]
    client = boto3.client("cloudwatch", region_name=region)
    try:
        with translate_client_errors("publish the evaluation's metrics to CloudWatch"):
            for first in range(0, len(data), 500):  # 1,000 metrics a call at most (API reference of PutMetricData)
                client.put_metric_data(Namespace=_NAMESPACE, MetricData=data[first : first + 500])
    except DeliveryError as error:
        logger.warning(f"{error}; the verdict stands without them")


def _datum(metric: str, value: float, dimensions: dict[str, str]) -> Any:
    named = [{"Name": name, "Value": text} for name, text in dimensions.items()]
    return {"MetricName": metric, "Dimensions": named, "Value": value}
