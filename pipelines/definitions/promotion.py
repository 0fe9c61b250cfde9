"""The definition of the pipeline `promotion`: an approval in the Model Registry → production.

    VerifyApproval → Approved? ─ yes → Promote
                               └ no  → NotApproved (why, in that step's failure reason)

One pipeline for all models: EventBridge starts it with the package's ARN and nothing else, and the package knows its release file.
`rollback` and `retire` start it too, with Intent=rollback and Intent=retirement: then the ledger knows the release file, the package may be gone.
"""

from __future__ import annotations

from typing import Any

from config.environment import Environment
from delivery.names import APPROVAL_FILE, EXECUTION_TAG, NOT_GIVEN, PROMOTION_PIPELINE, RELEASE_FILE
from pipelines.definitions import layout, requests
from pipelines.definitions.sdk import (
    ConditionEquals,
    ConditionStep,
    ExecutionVariables,
    FailStep,
    Join,
    JsonGet,
    ParameterString,
    Pipeline,
    Processing,
    PropertyFile,
    offline_pipeline,
)

_VERIFY_MAX_RUNTIME_S = 600
_EXECUTION = ExecutionVariables.PIPELINE_EXECUTION_ID


def build(environment: Environment) -> Pipeline:
    """Build the promotion pipeline of an environment. Pure; `.definition()` gives the JSON."""
    package = ParameterString("ModelPackageArn")
    intent = ParameterString("Intent", default_value="promotion", enum_values=["promotion", "rollback", "retirement"])
    by = ParameterString("RequestedBy", default_value=NOT_GIVEN)
    comment = ParameterString("Comment", default_value=NOT_GIVEN)
    seen = ParameterString("LedgerSeen", default_value=NOT_GIVEN)
    image = ParameterString("StepsImage", default_value=environment.images.steps)
    instance_type = ParameterString("ControlInstanceType", default_value=environment.job_instance_types.control)
    approval = PropertyFile("approval", output_name="output", path=APPROVAL_FILE)

    def job(step: str, arguments: list[Any], inputs: dict[str, Any], max_runtime_s: int) -> dict[str, Any]:
        return requests.processing_job(
            environment,
            step=step,
            role=environment.roles.promote,
            image=image,
            instance_type=instance_type,
            arguments=arguments,
            inputs=inputs,
            output=_output(environment, step),
            max_runtime_s=max_runtime_s,
            tags={EXECUTION_TAG: _EXECUTION},
        )

    verify = Processing(
        "VerifyApproval",
        job(
            "verify_approval",
            ["--model-package", package, "--bucket", environment.bucket, "--intent", intent, "--execution", _EXECUTION],
            {},
            _VERIFY_MAX_RUNTIME_S,
        ),
        description="Approved now, evaluated, passed, and still the same bytes",
        property_files=[approval],
    )
    release_file = Join(on="/", values=[_output(environment, "verify_approval"), RELEASE_FILE])
    promote = Processing(
        "Promote",
        job(
            "promote",
            [
                *("--release", requests.RELEASE_INPUT, "--model-package", package, "--execution", _EXECUTION),
                *("--approval", "manual", "--intent", intent, "--by", by, "--ledger-seen", seen),
                Join(on="=", values=["--comment", comment]),  # one argument: a comment may begin with a dash
            ],
            {"release": release_file},
            requests.PROMOTE_MAX_RUNTIME_S,
        ),
        description="Update the production endpoint, smoke-test it",
    )
    reason = JsonGet(step_name="VerifyApproval", property_file=approval, json_path="reason")
    approved = ConditionStep(
        "Approved",
        display_name="Approved?",
        conditions=[
            ConditionEquals(left=JsonGet(step_name="VerifyApproval", property_file=approval, json_path="approved"), right=True)
        ],
        if_steps=[promote],
        else_steps=[FailStep("NotApproved", error_message=Join(on=": ", values=["not promoted", reason]))],
    )
    return offline_pipeline(
        PROMOTION_PIPELINE, environment.region, [package, intent, by, comment, seen, image, instance_type], [verify, approved]
    )


def _output(environment: Environment, step: str) -> Join:
    return Join(on="/", values=[layout.executions(environment.bucket, PROMOTION_PIPELINE), _EXECUTION, step])
