"""EvaluateStaging: a staging endpoint, prompt checks, load, the objectives scored; the report is stored and registered.

Three phases: `prepare` reads everything and refuses early, `measure` has the endpoint, `publish` scores and records.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from steps.evaluate_staging.measure import measure
from steps.evaluate_staging.models import Evaluation, EvaluationArguments
from steps.evaluate_staging.prepare import prepare
from steps.evaluate_staging.publish import publish, publish_again
from steps.evaluate_staging.recorder import Recorder

logger = logging.getLogger(__name__)


def run(arguments: EvaluationArguments) -> Evaluation:
    """Evaluate the version, write OUTPUT/evaluation.json and the report beside it, note its digest on the version.

    Args:
        arguments: Arguments of this run. Its host leads: it has the endpoint and judges.

    Returns:
        The evaluation. A version that misses its objectives is a result, not an error.

    Raises:
        InputError: What the model file brings can never work; no endpoint was made.
        DeliveryError: There is no result: the endpoint did not come up, or AWS refused.
    """
    recorder = Recorder.open(arguments)
    if (earlier := recorder.find_earlier()) is not None:
        logger.info(f"this execution measured version {earlier.version} before: {recorder.location}; it is not measured again")
        with arguments.host.fleet(arguments.release.model.evaluation.client_processes):
            pass  # the other hosts hear that there is nothing to do
        publish_again(recorder, earlier)
        return earlier
    with tempfile.TemporaryDirectory(prefix="evaluation-") as folder:
        prepared = prepare(recorder, Path(folder))
        measured = measure(prepared)
    return publish(prepared, measured)
