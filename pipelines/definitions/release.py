"""The definition of the pipeline `release-MODEL`: from a Hugging Face revision to production, through the gate.

    FetchWeights → RegisterModel → EvaluateStaging → Gate → …, as in `pipelines.definitions.gated_evaluation`

`build` is a pure function of a release: no network, no account, the same JSON for the same release. It is one pipeline a model, since
the gate's conditions are the model's objectives; docs/decisions/0001 says why.
"""

from __future__ import annotations

from config.schema import Release
from delivery.names import WEIGHTS_FILE, Fact, pipeline_name
from pipelines.definitions import layout, requests
from pipelines.definitions.gated_evaluation import EXECUTION, EvaluationParameters, GatedEvaluation, job, tags
from pipelines.definitions.sdk import (
    CacheConfig,
    JsonGet,
    ParameterString,
    Pipeline,
    Processing,
    PropertyFile,
    RegisterModel,
    offline_pipeline,
)

_CACHE_FOR = "P7D"


class _Parameters(EvaluationParameters):
    """What one execution may change without a new definition."""

    def __init__(self, release: Release) -> None:
        super().__init__(release, layout.release_file(release))
        self.hub_endpoint = ParameterString("HubEndpoint", default_value=layout.hub_endpoint(release))
        self.fetch_instance_type = ParameterString(
            "FetchInstanceType", default_value=release.environment.job_instance_types.fetch
        )

    def all(self) -> list[ParameterString]:
        """In the order in which the console shows them."""
        return [
            self.release_file,
            self.hub_endpoint,
            self.approval,
            self.steps_image,
            self.fetch_instance_type,
            self.evaluate_instance_type,
            self.control_instance_type,
        ]


def build(release: Release) -> Pipeline:
    """Build the release pipeline of one model. Pure; `.definition()` gives the JSON."""
    parameters = _Parameters(release)
    name = pipeline_name(release.name)
    fetch, weights = _fetch(release, parameters)
    register = _register(release, parameters, weights)
    evaluation = GatedEvaluation(release, parameters, register.properties.ModelPackageArn, name)
    return offline_pipeline(name, release.environment.region, parameters.all(), [fetch, register, *evaluation.steps()])


def _fetch(release: Release, parameters: _Parameters) -> tuple[Processing, PropertyFile]:
    weights = PropertyFile("weights", output_name="output", path=WEIGHTS_FILE)
    request = job(
        release,
        parameters,
        step="fetch_weights",
        role=release.environment.roles.fetch,
        instance_type=parameters.fetch_instance_type,
        instance_count=release.model.weights.hosts,
        arguments=["--hub-endpoint", parameters.hub_endpoint],
        output=layout.fetch_output(release),
        max_runtime_s=requests.FETCH_MAX_RUNTIME_S,
        tags=tags(release),
    )
    step = Processing(
        "FetchWeights",
        request,
        description=f"{release.model.weights.repository} from the Hub to {release.weights_prefix}",
        property_files=[weights],
        cache=CacheConfig(enable_caching=True, expire_after=_CACHE_FOR),
    )
    return step, weights


def _register(release: Release, parameters: _Parameters, weights: PropertyFile) -> RegisterModel:
    facts = {
        Fact.EXECUTION: EXECUTION,
        Fact.RELEASE_FILE: parameters.release_file,
        Fact.REPOSITORY: release.model.weights.repository,
        Fact.REVISION: release.model.weights.revision,
        Fact.WEIGHTS_PREFIX: release.weights_prefix,
        Fact.WEIGHTS_MANIFEST_SHA256: JsonGet(step_name="FetchWeights", property_file=weights, json_path="manifest_sha256"),
    }
    return RegisterModel(
        "RegisterModel",
        requests.model_package(release, {str(key): value for key, value in facts.items()}),
        description=f"A new version in {release.package_group}, pending approval",
    )
