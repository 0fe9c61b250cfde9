"""The steps from EvaluateStaging to Promote, which two pipelines end with: a release's, and that of an evaluation of a version that is there.

EvaluateStaging → Gate ─ passed → Approved? ─ yes → Promote        (no → ends; a person approves later)
                       └ not passed → Undecided? ─ yes → NotDecided  (the version stays pending)
                                                 └ no → Reject → Failed
"""

from __future__ import annotations

from typing import Any

from config.schema import Release
from delivery.names import EVALUATION_FILE, EXECUTION_TAG, MODEL_TAG
from pipelines.definitions import layout, requests
from pipelines.definitions.sdk import (
    ConditionEquals,
    ConditionGreaterThanOrEqualTo,
    ConditionLessThanOrEqualTo,
    ConditionStep,
    ExecutionVariables,
    FailStep,
    Join,
    JsonGet,
    ParameterString,
    Processing,
    PropertyFile,
)

EXECUTION = ExecutionVariables.PIPELINE_EXECUTION_ID
_EVALUATE = "EvaluateStaging"
_EVALUATE_MARGIN_S = 1800  # the job outlives its own staging endpoint, so that it is the one who deletes it
_CONTROL_MAX_RUNTIME_S = 600


class EvaluationParameters:
    """What one execution may change without a new definition."""

    def __init__(self, release: Release, release_file: str, *, only: bool = False) -> None:
        """Take defaults from the release. With `only` no other release file is taken: the gate's conditions are that one's objectives."""
        jobs, images = release.environment.job_instance_types, release.environment.images
        self.release_file = ParameterString(
            "ReleaseFile", default_value=release_file, enum_values=[release_file] if only else None
        )
        self.approval = ParameterString("Approval", default_value=release.model.approval, enum_values=["manual", "automatic"])
        self.steps_image = ParameterString("StepsImage", default_value=images.steps)
        self.evaluate_instance_type = ParameterString("EvaluateInstanceType", default_value=jobs.evaluate)
        self.control_instance_type = ParameterString("ControlInstanceType", default_value=jobs.control)


class GatedEvaluation:
    """An evaluation, the gate, and what follows."""

    def __init__(self, release: Release, parameters: EvaluationParameters, package: Any, pipeline: str) -> None:
        """`package` is the version's ARN, or the variable that becomes it; `pipeline` the name of the pipeline that this is in."""
        self._release, self._parameters, self._package, self._pipeline = release, parameters, package, pipeline
        self._evaluation = PropertyFile("evaluation", output_name="output", path=EVALUATION_FILE)

    def steps(self) -> list[Any]:
        """Return the steps; the first needs the package."""
        gate = ConditionStep(
            "Gate",
            description="Every objective of the model file is a condition; all must hold.",
            conditions=self._conditions(),
            if_steps=[self._approved()],
            else_steps=[self._undecided()],
        )
        return [self._evaluate(), gate]

    def _evaluate(self) -> Processing:
        release = self._release
        request = job(
            release,
            self._parameters,
            step="evaluate_staging",
            role=release.environment.roles.evaluate,
            instance_type=self._parameters.evaluate_instance_type,
            instance_count=release.model.evaluation.hosts,
            arguments=["--model-package", self._package, "--execution", EXECUTION],
            output=self._evaluation_prefix(),
            max_runtime_s=release.longest_evaluation_s + _EVALUATE_MARGIN_S,
            tags=tags(release, EXECUTION),
        )
        return Processing(
            _EVALUATE,
            request,
            description="A staging endpoint, prompt checks, load, the objectives scored; the endpoint is deleted whatever happens",
            property_files=[self._evaluation],
        )

    def _conditions(self) -> list[Any]:
        conditions: list[Any] = [
            ConditionEquals(left=self._read("verdict"), right="passed"),
            ConditionLessThanOrEqualTo(left=self._read("prompt_checks.failed"), right=0),
        ]
        for name, profile in self._release.model.evaluation.load_profiles.items():
            for metric, objective in profile.objectives.items():
                condition = ConditionLessThanOrEqualTo if objective.is_upper else ConditionGreaterThanOrEqualTo
                path = f"profiles.{name}.objectives.{metric}.compared_value"
                conditions.append(condition(left=self._read(path), right=objective.bound))
        lm_eval = self._release.model.evaluation.lm_eval
        for name, task in lm_eval.tasks.items() if lm_eval else ():
            condition = ConditionLessThanOrEqualTo if task.is_upper else ConditionGreaterThanOrEqualTo
            conditions.append(condition(left=self._read(f"lm_eval.{name}.compared_value"), right=task.bound))
        return conditions

    def _approved(self) -> ConditionStep:
        release, parameters = self._release, self._parameters
        promote = Processing(
            "Promote",
            job(
                release,
                parameters,
                step="promote",
                role=release.environment.roles.promote,
                instance_type=parameters.control_instance_type,
                arguments=["--model-package", self._package, "--execution", EXECUTION, "--approval", parameters.approval],
                output=self._output("promote"),
                max_runtime_s=requests.PROMOTE_MAX_RUNTIME_S,
                tags=tags(release, EXECUTION),
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

    def _undecided(self) -> ConditionStep:
        """Part numbers that are bad from numbers that decide nothing: of those nobody is rejected."""
        reason = [self._read("summary"), self._read("next_action")]
        return ConditionStep(
            "Undecided",
            display_name="Undecided?",
            description="Numbers that cannot decide reject nobody: the version stays pending and can be evaluated again.",
            conditions=[ConditionEquals(left=self._read("verdict"), right="invalid")],
            if_steps=[
                FailStep(
                    "NotDecided",
                    error_message=Join(on=": ", values=["the numbers decide nothing, and the version stays pending", *reason]),
                )
            ],
            else_steps=self._rejection(),
        )

    def _rejection(self) -> list[Any]:
        release = self._release
        # The evaluation comes as a file: an argument holds 256 characters, its summary may be longer.
        refused = f"{requests.INPUT}/evaluation/{EVALUATION_FILE}"
        reject = Processing(
            "Reject",
            job(
                release,
                self._parameters,
                step="reject",
                role=release.environment.roles.evaluate,
                instance_type=self._parameters.control_instance_type,
                arguments=["--model-package", self._package, "--execution", EXECUTION, "--evaluation", refused],
                more_inputs={"evaluation": self._evaluation_prefix()},
                output=self._output("reject"),
                max_runtime_s=_CONTROL_MAX_RUNTIME_S,
                tags=tags(release, EXECUTION),
            ),
            description="Mark the version as rejected in the registry",
        )
        failed = FailStep(
            "Failed",
            error_message=Join(on=": ", values=["the gate refused this version", self._read("summary")]),
            depends_on=[reject],
        )
        return [reject, failed]

    def _read(self, path: str) -> JsonGet:
        return JsonGet(step_name=_EVALUATE, property_file=self._evaluation, json_path=path)

    def _output(self, step: str) -> Join:
        return Join(on="/", values=[layout.executions(self._release.environment.bucket, self._pipeline), EXECUTION, step])

    def _evaluation_prefix(self) -> Join:
        return Join(on="/", values=[self._release.evaluations_prefix, EXECUTION])


def job(
    release: Release,
    parameters: EvaluationParameters,
    *,
    step: str,
    arguments: list[Any],
    more_inputs: dict[str, Any] | None = None,
    **request: Any,
) -> dict[str, Any]:
    """Request a processing job that gets the release file. `request` goes to `requests.processing_job`."""
    return requests.processing_job(
        release.environment,
        step=step,
        image=parameters.steps_image,
        arguments=["--release", requests.RELEASE_INPUT, *arguments],
        inputs={"release": parameters.release_file, **(more_inputs or {})},
        **request,
    )


def tags(release: Release, execution: Any = None) -> dict[str, Any]:
    """Tag a job. FetchWeights serves every execution of its release, so it carries none's."""
    return {MODEL_TAG: release.name} | ({} if execution is None else {EXECUTION_TAG: execution})
