"""The definition of the pipeline `evaluate-MODEL`: a version that is registered → the gate → production, as a release ends.

    EvaluateStaging → Gate → …, as in `pipelines.definitions.gated_evaluation`

For a version about which the numbers of its release decided nothing, or whose evaluation broke off. The gate's conditions are the
objectives of the release file that the version was registered from, so an execution takes no other.
"""

from __future__ import annotations

from config.schema import Release
from delivery.names import evaluation_pipeline_name
from pipelines.definitions.gated_evaluation import EvaluationParameters, GatedEvaluation
from pipelines.definitions.sdk import ParameterString, Pipeline, offline_pipeline


def build(release: Release, release_file: str) -> Pipeline:
    """Build the evaluation pipeline of a model. Pure; `.definition()` gives the JSON.

    Args:
        release: What the version was registered from, in the environment as it is now.
        release_file: Where that is stored.
    """
    package = ParameterString("ModelPackageArn")
    parameters = EvaluationParameters(release, release_file, only=True)
    name = evaluation_pipeline_name(release.name)
    steps = GatedEvaluation(release, parameters, package, name).steps()
    return offline_pipeline(name, release.environment.region, [package, *vars(parameters).values()], steps)
