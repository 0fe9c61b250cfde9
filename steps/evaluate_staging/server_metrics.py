"""What the engine said of itself while the loads were on, out of CloudWatch: for the report, never for the verdict."""

from __future__ import annotations

import boto3

from delivery.endpoint.deployment import STAGING_METRICS_S
from loadtest.measurement.models import ServerMetrics
from loadtest.server.cloudwatch import SOURCE, CloudWatchMetrics
from steps.evaluate_staging.measure import Measured
from steps.evaluate_staging.models import Evaluation
from steps.evaluate_staging.prepare import Prepared

_FLAG = "SM_SGLANG_ENABLE_METRICS"


def with_server_metrics(evaluation: Evaluation, prepared: Prepared, measured: Measured) -> Evaluation:
    """Put what the engine said of itself beside what each load profile measured.

    It is asked for when the endpoint is gone: CloudWatch keeps it, and has had the time to take it in.

    Args:
        evaluation: What was measured, and judged.
        prepared: What `prepare` found.
        measured: What `measure` measured.

    Returns:
        The evaluation with each profile's `server`.

    Raises:
        LoadTestError: CloudWatch refused, or did not answer.
    """
    release = prepared.arguments.release
    if release.model.container_environment().get(_FLAG) != "true":
        note = "SGLang says nothing without serving.sglang.enable-metrics in the model file"
        none = ServerMetrics(source=SOURCE, every_s=STAGING_METRICS_S, note=note)
        found = dict.fromkeys(evaluation.profiles, none)
    else:
        region = release.environment.region
        url = boto3.client("cloudwatch", region_name=region).meta.endpoint_url
        metrics = CloudWatchMetrics(url, region, measured.staged.endpoint, STAGING_METRICS_S)
        found = {name: metrics.measured(measured.loads[name].measurement) for name in evaluation.profiles}
    profiles = {name: one.model_copy(update={"server": found[name]}) for name, one in evaluation.profiles.items()}
    return evaluation.model_copy(update={"profiles": profiles})
