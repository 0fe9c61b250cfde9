"""EvaluateStaging: a staging endpoint, prompt checks, load, the objectives scored; the report is stored and registered.

Three phases: `prepare` reads everything and refuses early, `measure` has the endpoint, `publish` scores and records.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from steps.evaluate_staging.measure import measure
from steps.evaluate_staging.models import Evaluation, EvaluationArguments
from steps.evaluate_staging.prepare import prepare
from steps.evaluate_staging.publish import publish


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
    with tempfile.TemporaryDirectory(prefix="evaluation-") as folder:
        prepared = prepare(arguments, Path(folder))
        measured = measure(prepared)
    return publish(prepared, measured)
