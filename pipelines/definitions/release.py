"""The definition of the pipeline `release-MODEL`: from a Hugging Face revision to production, through the gate.

    FetchWeights → RegisterModel → EvaluateStaging → Gate ─ passed → Approved? ─ yes → Promote
                                                         └ failed → Reject → Failed      (no → ends; a person approves later)

`build` is a pure function of a release: no network, no account, the same JSON for the same release. It is one pipeline a model, since
the gate's conditions are the model's objectives; docs/decisions/0001 says why.
"""

from __future__ import annotations

from typing import Any

from config.schema import Release
from delivery.names import EVALUATION_FILE, EXECUTION_TAG, MODEL_TAG, WEIGHTS_FILE, Fact, pipeline_name
from pipelines.definitions import layout, requests
from pipelines.definitions.sdk import (
    CacheConfig,
    ConditionEquals,
    ConditionGreaterThanOrEqualTo,
    ConditionLessThanOrEqualTo,
    ConditionStep,
    ExecutionVariables,
    FailStep,
    Join,
    JsonGet,
    ParameterString,
    Pipeline,
    Processing,
    PropertyFile,
    RegisterModel,
    offline_pipeline,
)

_EVALUATE_MARGIN_S = 1800  # the job outlives its own staging endpoint, so that it is the one who deletes it
_CONTROL_MAX_RUNTIME_S = 600
_CACHE_FOR = "P7D"

_EXECUTION = ExecutionVariables.PIPELINE_EXECUTION_ID


class _Parameters:
    """What one execution may change without a new definition."""

    def __init__(self, release: Release) -> None:
        jobs = release.environment.job_instance_types
        self.release_file = ParameterString("ReleaseFile", default_value=layout.release_file(release))
        self.hub_endpoint = ParameterString("HubEndpoint", default_value=layout.hub_endpoint(release))
        self.approval = ParameterString("Approval", default_value=release.model.approval, enum_values=["manual", "automatic"])
        self.steps_image = ParameterString("StepsImage", default_value=release.environment.images.steps)
        self.fetch_instance_type = ParameterString("FetchInstanceType", default_value=jobs.fetch)
        self.evaluate_instance_type = ParameterString("EvaluateInstanceType", default_value=jobs.evaluate)
        self.control_instance_type = ParameterString("ControlInstanceType", default_value=jobs.control)

    def all(self) -> list[ParameterString]:
        """In the order in which the console shows them."""
        return list(vars(self).values())


def build(release: Release) -> Pipeline:
    """Build the release pipeline of one model. Pure; `.definition()` gives the JSON."""
    parameters = _Parameters(release)
    fetch, weights = _fetch(release, parameters)
    register = _register(release, parameters, weights)
    package = register.properties.ModelPackageArn
    evaluate, evaluation = _evaluate(release, parameters, package)
    gate = ConditionStep(
        "Gate",
        description="Every objective of the model file is a condition; all must hold.",
        conditions=_gate_conditions(release, evaluation),
        if_steps=[_approved(release, parameters, package)],
        else_steps=_rejection(release, parameters, package, evaluation),
    )
    return offline_pipeline(
        pipeline_name(release.name), release.environment.region, parameters.all(), [fetch, register, evaluate, gate]
    )


def _fetch(release: Release, parameters: _Parameters) -> tuple[Processing, PropertyFile]:
    weights = PropertyFile("weights", output_name="output", path=WEIGHTS_FILE)
    request = _job(
        release,
        parameters,
        step="fetch_weights",
        role=release.environment.roles.fetch,
        instance_type=parameters.fetch_instance_type,
        instance_count=release.model.weights.hosts,
        arguments=["--hub-endpoint", parameters.hub_endpoint],
        output=layout.fetch_output(release),
        max_runtime_s=requests.FETCH_MAX_RUNTIME_S,
        tags=_tags(release),
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
        Fact.EXECUTION: _EXECUTION,
        Fact.RELEASE_FILE: parameters.release_file,
        Fact.REPOSITORY: release.model.weights.repository,
        Fact.REVISION: release.model.weights.revision,
        Fact.WEIGHTS_PREFIX: release.weights_prefix,
        Fact.WEIGHTS_MANIFEST_SHA256: _read("FetchWeights", weights, "manifest_sha256"),
    }
    return RegisterModel(
        "RegisterModel",
        requests.model_package(release, {str(key): value for key, value in facts.items()}),
        description=f"A new version in {release.package_group}, pending approval",
    )


def _evaluate(release: Release, parameters: _Parameters, package: Any) -> tuple[Processing, PropertyFile]:
    evaluation = PropertyFile("evaluation", output_name="output", path=EVALUATION_FILE)
    request = _job(
        release,
        parameters,
        step="evaluate_staging",
        role=release.environment.roles.evaluate,
        instance_type=parameters.evaluate_instance_type,
        instance_count=release.model.evaluation.hosts,
        arguments=["--model-package", package, "--execution", _EXECUTION],
        output=_evaluation_prefix(release),
        max_runtime_s=release.longest_evaluation_s + _EVALUATE_MARGIN_S,
        tags=_tags(release, _EXECUTION),
    )
    step = Processing(
        "EvaluateStaging",
        request,
        description="A staging endpoint, prompt checks, load, the objectives scored; the endpoint is deleted whatever happens",
        property_files=[evaluation],
    )
    return step, evaluation


def _gate_conditions(release: Release, evaluation: PropertyFile) -> list[Any]:
    conditions: list[Any] = [
        ConditionEquals(left=_read("EvaluateStaging", evaluation, "verdict"), right="passed"),
        ConditionLessThanOrEqualTo(left=_read("EvaluateStaging", evaluation, "prompt_checks.failed"), right=0),
    ]
    for name, profile in release.model.evaluation.load_profiles.items():
        for metric, objective in profile.objectives.items():
            condition = ConditionLessThanOrEqualTo if objective.is_upper else ConditionGreaterThanOrEqualTo
            path = f"profiles.{name}.objectives.{metric}.compared_value"
            conditions.append(condition(left=_read("EvaluateStaging", evaluation, path), right=objective.bound))
    lm_eval = release.model.evaluation.lm_eval
    for name, task in lm_eval.tasks.items() if lm_eval else ():
        condition = ConditionLessThanOrEqualTo if task.is_upper else ConditionGreaterThanOrEqualTo
        conditions.append(
            condition(left=_read("EvaluateStaging", evaluation, f"lm_eval.{name}.compared_value"), right=task.bound)
        )
    return conditions


def _approved(release: Release, parameters: _Parameters, package: Any) -> ConditionStep:
    promote = Processing(
        "Promote",
        _job(
            release,
            parameters,
            step="promote",
            role=release.environment.roles.promote,
            instance_type=parameters.control_instance_type,
            arguments=["--model-package", package, "--execution", _EXECUTION, "--approval", parameters.approval],
            output=_output(release, "promote"),
            max_runtime_s=requests.PROMOTE_MAX_RUNTIME_S,
            tags=_tags(release, _EXECUTION),
        ),
        description=f"Update the endpoint {release.model.production.endpoint}, smoke-test it",
    )
    return ConditionStep(
        "Approved",
        display_name="Approved?",
        description="With automatic approval the gate's verdict is enough; otherwise a person approves the version in the registry.",
        conditions=[ConditionEquals(left=parameters.approval, right="automatic")],
        if_steps=[promote],
        else_steps=[],
    )


def _rejection(release: Release, parameters: _Parameters, package: Any, evaluation: PropertyFile) -> list[Any]:
    summary = _read("EvaluateStaging", evaluation, "summary")
    # The evaluation comes as a file: an argument holds 256 characters, its summary may be longer.
    refused = f"{requests.INPUT}/evaluation/{EVALUATION_FILE}"
    reject = Processing(
        "Reject",
        _job(
            release,
            parameters,
            step="reject",
            role=release.environment.roles.evaluate,
            instance_type=parameters.control_instance_type,
            arguments=["--model-package", package, "--execution", _EXECUTION, "--evaluation", refused],
            more_inputs={"evaluation": _evaluation_prefix(release)},
            output=_output(release, "reject"),
            max_runtime_s=_CONTROL_MAX_RUNTIME_S,
            tags=_tags(release, _EXECUTION),
        ),
        description="Mark the version as rejected in the registry",
    )
    failed = FailStep(
        "Failed", error_message=Join(on=": ", values=["the gate refused this version", summary]), depends_on=[reject]
    )
    return [reject, failed]


def _job(
    release: Release,
    parameters: _Parameters,
    *,
    step: str,
    arguments: list[Any],
    more_inputs: dict[str, Any] | None = None,
    **request: Any,
) -> dict[str, Any]:
    """Request a processing job that gets the release file."""
    return requests.processing_job(
        release.environment,
        step=step,
        image=parameters.steps_image,
        arguments=["--release", requests.RELEASE_INPUT, *arguments],
        inputs={"release": parameters.release_file, **(more_inputs or {})},
        **request,
    )


def _read(step: str, file: PropertyFile, path: str) -> JsonGet:
    return JsonGet(step_name=step, property_file=file, json_path=path)


def _tags(release: Release, execution: Any = None) -> dict[str, Any]:
    """Tag a job. FetchWeights serves every execution of its release, so it carries none's."""
    return {MODEL_TAG: release.name} | ({} if execution is None else {EXECUTION_TAG: execution})


def _output(release: Release, step: str) -> Join:
    return Join(on="/", values=[layout.executions(release.environment.bucket, pipeline_name(release.name)), _EXECUTION, step])


def _evaluation_prefix(release: Release) -> Join:
    return Join(on="/", values=[release.evaluations_prefix, _EXECUTION])
