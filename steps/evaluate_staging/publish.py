"""Third phase of an evaluation: score what was measured and record it, in files, on the version, in the ledger, in CloudWatch.

The verdict is what the step exists for: it is stored first. A decoration that cannot be made (the table, the suite, the page, a metric)
never undoes it; the evaluation names it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from config.schema import Release
from delivery.aws import s3
from delivery.aws.client_errors import translate_client_errors
from delivery.job.frame import progress
from delivery.names import REPORT_PAGE, Fact
from loadtest.measurement import request_table
from loadtest.report import shown_metrics
from loadtest.runner import ProfileRun
from steps.evaluate_staging import expectations
from steps.evaluate_staging.measure import Measured
from steps.evaluate_staging.models import IMAGE_DIGEST, Evaluation, Expectations
from steps.evaluate_staging.prepare import Prepared
from steps.evaluate_staging.recorder import Recorder, forget
from steps.evaluate_staging.scoring import score
from steps.evaluate_staging.server_metrics import with_server_metrics

logger = logging.getLogger(__name__)

_NAMESPACE = "Release/Evaluation"
_TABLE = "requests.parquet"
_IMPATIENT = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
"""A CloudWatch that hangs holds up no verdict."""


def publish(prepared: Prepared, measured: Measured) -> Evaluation:
    """Score what was measured, store evaluation.json and the report beside it, note the verdict on the version and in the ledger.

    Args:
        prepared: What `prepare` found.
        measured: What `measure` measured.

    Returns:
        The evaluation, as it is stored.

    Raises:
        DeliveryError: S3, the registry or the ledger could not be written to; the message has the verdict.
    """
    release, recorder = prepared.arguments.release, prepared.recorder
    evaluation = recorder.store(score(prepared, measured))
    logger.info(f"{evaluation.verdict}: {evaluation.summary}")
    undone = list(evaluation.not_done)
    with decoration("the metrics in CloudWatch", undone):
        send_metrics(evaluation, release.environment.region)
    with decoration("the engine's own metrics from CloudWatch", undone):
        evaluation = with_server_metrics(evaluation, prepared, measured)
    evaluation = evaluation.model_copy(update={"not_done": undone})
    folder = prepared.arguments.output
    evaluation = recorder.store(write_report(evaluation, release, measured.loads, prepared.baseline.evaluation, folder))
    recorder.record(evaluation, prepared.image_facts)
    progress(f"{evaluation.verdict}: {evaluation.summary}")
    return evaluation


def publish_again(recorder: Recorder, evaluation: Evaluation) -> None:
    """Note what an earlier run of this step stored, where that is missing, and write it into the output.

    Args:
        recorder: It found the evaluation.
        evaluation: The one that it found.

    Raises:
        DeliveryError: The registry or the ledger could not be written to.
    """
    recorder.write_output()
    with decoration("the report", [], page := recorder.arguments.output / REPORT_PAGE):
        if s3.read(recorder.client, recorder.folder / REPORT_PAGE) is None:
            _draw_page(evaluation, None, page)
    digest = evaluation.environment.get(IMAGE_DIGEST)
    recorder.record(evaluation, {str(Fact.IMAGE_DIGEST): digest} if digest else {})
    progress(f"{evaluation.verdict}: {evaluation.summary}")


@contextmanager
def decoration(what: str, undone: list[str], *files: Path) -> Iterator[None]:
    """Make something that a verdict can do without: what fails inside becomes a line of `undone` and of the log, and its files are deleted."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (AWS's, a library's, a full disk's: none may cost a verdict that an endpoint was paid for)
        line = f"{what} could not be made: {type(error).__name__}: {error}"
        logger.warning(f"{line}; the verdict stands without it")
        undone.append(line)
        for file in files:
            forget(file)


def write_report(
    evaluation: Evaluation, release: Release, loads: Mapping[str, ProfileRun], production: Evaluation | None, folder: Path
) -> Evaluation:
    """Write requests.parquet, the data docs and the report into `folder`; return the evaluation with what the suite found."""
    progress("writing the report")
    undone = list(evaluation.not_done)
    rows: dict[str, list[Any]] = {}
    with decoration("the table of requests", undone, folder / _TABLE):
        folder.mkdir(parents=True, exist_ok=True)
        rows = request_table.build({name: outcome.measurement for name, outcome in loads.items()})
        request_table.write(rows, folder / _TABLE)
    suite = _check_expectations(rows, release, folder / "data_docs")
    evaluation = evaluation.model_copy(update={"expectations": suite, "not_done": undone})
    with decoration("the report", undone, folder / REPORT_PAGE):
        _draw_page(evaluation, production, folder / REPORT_PAGE)
    return evaluation.model_copy(update={"not_done": undone})


def _draw_page(evaluation: Evaluation, production: Evaluation | None, page: Path) -> None:
    from steps.evaluate_staging import report  # deferred: matplotlib costs a second, and is needed last

    page.write_text(report.render(evaluation, production), encoding="utf-8")


def _check_expectations(rows: dict[str, list[Any]], release: Release, docs: Path) -> Expectations | None:
    """Run the suite. It decides nothing, so its own failure must not cost a verdict that an hour of an endpoint was paid for."""
    try:
        return expectations.check(rows, release.model.evaluation.load_profiles, docs)
    except Exception as error:  # noqa: BLE001  (a library's, of any kind)
        failed = f"great_expectations itself failed: {type(error).__name__}: {error}"
        logger.warning(failed)
        return Expectations(success=False, checked=0, failed=[failed])


def send_metrics(evaluation: Evaluation, region: str) -> None:
    """Send every metric by model, version and profile, and every lm-eval score, so that versions can be seen beside one another.

    Args:
        evaluation: Whose metrics.
        region: Where to.

    Raises:
        DeliveryError: CloudWatch refused, or did not answer soon.
    """
    version = {"Model": evaluation.model, "Version": str(evaluation.version)}
    data = [
        _datum(metric, value, {**version, "Profile": name})
        for name, profile in evaluation.profiles.items()
        for metric in shown_metrics(profile)
        if (value := profile.metrics[metric]) is not None
        and math.isfinite(value)  # CloudWatch takes no infinity; error_rate says it
    ] + [
        _datum(f"lm_eval_{task}", result.value, version)
        for task, result in evaluation.lm_eval.items()
        if result.value is not None
    ]
    client = boto3.client("cloudwatch", region_name=region, config=_IMPATIENT)
    with translate_client_errors("publish the evaluation's metrics to CloudWatch"):
        for first in range(0, len(data), 500):  # 1,000 metrics a call at most (API reference of PutMetricData)
            client.put_metric_data(Namespace=_NAMESPACE, MetricData=data[first : first + 500])


def _datum(metric: str, value: float, dimensions: dict[str, str]) -> Any:
    named = [{"Name": name, "Value": text} for name, text in dimensions.items()]
    return {"MetricName": metric, "Dimensions": named, "Value": value}
