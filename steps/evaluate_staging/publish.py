"""Where an evaluation goes: the table and the report beside it, facts on the version, the ledger, metrics in CloudWatch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from config.schema import Release
from delivery.aws.client_errors import translate_client_errors
from delivery.history.ledger import Ledger
from delivery.job.frame import progress, say
from delivery.names import EVALUATION_FILE, REPORT_PAGE, Fact
from delivery.registry.model_packages import ModelPackage
from loadtest.measurement import request_table
from loadtest.runner import Outcome
from steps.evaluate_staging import expectations
from steps.evaluate_staging.baseline import Baseline
from steps.evaluate_staging.models import Evaluation, Expectations
from steps.evaluate_staging.verdicts import number

_NAMESPACE = "Release/Evaluation"
_FACT_LIMIT = 40  # of the 50 that a version may have


def attachments(
    evaluation: Evaluation, release: Release, outcomes: dict[str, Outcome], production: Baseline | None, folder: Path
) -> Evaluation:
    """Write requests.parquet, the data docs and the report into `folder`; returns the evaluation with what the suite found."""
    from steps.evaluate_staging import report  # here: what draws takes a second to import, and is needed last

    progress("writing the report")
    rows = request_table.build({name: outcome.measurement for name, outcome in outcomes.items()})
    request_table.write(rows, folder / "requests.parquet")
    suite = _checked(rows, release, folder / "data_docs")
    evaluation = evaluation.model_copy(update={"expectations": suite})
    html = report.render(evaluation, production.evaluation if production else None)
    (folder / REPORT_PAGE).write_text(html, encoding="utf-8")
    return evaluation


def _checked(rows: dict[str, list[Any]], release: Release, docs: Path) -> Expectations | None:
    """What the suite found. It decides nothing, so its own failure must not cost a verdict that an hour of an endpoint was paid for."""
    try:
        return expectations.check(rows, release.model.evaluation.load_profiles, docs)
    except Exception as error:  # noqa: BLE001  (a library's, of any kind)
        failed = f"great_expectations itself failed: {type(error).__name__}: {error}"
        say(failed)
        return Expectations(success=False, checked=0, failed=[failed])


def facts(release: Release, evaluation: Evaluation, sha256: str) -> dict[str, str]:
    """What the registry keeps: the verdict, where the report is, its digest, the headline numbers."""
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


def registered(ledger: Ledger, package: ModelPackage, execution: str) -> None:
    """Note that there is a new version. RegisterModel is SageMaker's own step and writes no ledger: the first step after it does."""
    known = (Fact.REPOSITORY, Fact.REVISION, Fact.WEIGHTS_MANIFEST_SHA256, Fact.RELEASE_FILE)
    told = {str(fact): package.facts[fact] for fact in known if fact in package.facts}
    ledger.append_once("registered", by=execution, version=package.version, model_package=package.arn, details=told)


def evaluated(ledger: Ledger, evaluation: Evaluation, facts: Mapping[str, str]) -> None:
    """Note the verdict, and which report it stands in."""
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


def cloudwatch(evaluation: Evaluation, region: str) -> None:
    """Every metric of every profile, by model, version and profile, and every lm-eval score, by model and version, so that versions can be
    seen beside one another over time."""
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
    with translate_client_errors("publish the evaluation's metrics to CloudWatch"):
        for first in range(0, len(data), 500):  # 1,000 metrics a call at most (API reference of PutMetricData)
            client.put_metric_data(Namespace=_NAMESPACE, MetricData=data[first : first + 500])


def _datum(metric: str, value: float, dimensions: dict[str, str]) -> dict[str, Any]:
    named = [{"Name": name, "Value": text} for name, text in dimensions.items()]
    return {"MetricName": metric, "Dimensions": named, "Value": value}
