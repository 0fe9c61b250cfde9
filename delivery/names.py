"""The names that steps and pipeline definitions share: files, tags, facts on a model package, pipelines. Definitions know no more of steps."""

from __future__ import annotations

from enum import StrEnum

from config.schema import PACKAGE_GROUP_PREFIX

MANIFEST_FILE = "manifest.json"
"""What a weights prefix holds; without it a fetch is unfinished."""
WEIGHTS_FILE = "weights.json"
EVALUATION_FILE = "evaluation.json"
REPORT_PAGE = "report.html"
"""The evaluation as a page, beside its file."""
APPROVAL_FILE = "approval.json"
PROMOTION_FILE = "promotion.json"
REJECTION_FILE = "rejection.json"
REAPED_FILE = "reaped.json"
RELEASE_FILE = "release.json"

MODEL_TAG = "release:model"
"""The tags of everything that the project makes in AWS; infra/delivery.yaml grants by some of them. Whose it is: the model's name."""
VERSION_TAG = "release:version"
"""The number of the version that it serves."""
EXECUTION_TAG = "release:execution"
"""The id of the pipeline execution that made it."""
EXPIRES_TAG = "release:expires-at"
"""When the reaper may delete it, ISO 8601 UTC; on what must not outlive its run."""
ENDPOINT_TAG = "release:endpoint"
"""The production endpoint that it was made for."""
PREVIOUS_TAG = "release:previous-config"
"""The endpoint config that production served before it."""

PROMOTION_PIPELINE = "promotion"
"""The pipeline that an approval in the registry starts; the same for every model."""

PROMOTION_STEPS = ["VerifyApproval", "Approved", "Promote"]
"""Those of a promotion that reaches production, in their order."""
RELEASE_STEPS = ["FetchWeights", "RegisterModel", "EvaluateStaging", "Gate", "Approved", "Promote"]
"""Those of a release that reaches production, in their order: what people are shown of it before they have started."""
EVALUATION_STEPS = RELEASE_STEPS[RELEASE_STEPS.index("EvaluateStaging") :]
"""Those of an evaluation of a version that is registered: as a release ends."""

REAP_PIPELINE = "reap"
"""The pipeline that deletes what has outlived its run; a schedule starts it."""

NOT_GIVEN = "-"
"""Who asked for an execution, and why, where nobody said: an argument of a container cannot be empty."""


def pipeline_name(model: str) -> str:
    """Return the name of a model's release pipeline."""
    return f"release-{model}"


def evaluation_pipeline_name(model: str) -> str:
    """Return the name of the pipeline that evaluates a version of the model again."""
    return f"evaluate-{model}"


def model_of(model_package: str) -> str:
    """Return the model whose version has this ARN: versions are in the model's package group.

    Example:
        >>> model_of("arn:aws:sagemaker:us-west-2:111122223333:model-package/release-qwen3-32b/4")
        'qwen3-32b'
    """
    return model_package.split("/")[1].removeprefix(PACKAGE_GROUP_PREFIX)


class Fact(StrEnum):
    """A key of a model package's CustomerMetadataProperties: what is known of that version."""

    EXECUTION = "release:execution"
    RELEASE_FILE = "release:file"
    REPOSITORY = "weights:repository"
    REVISION = "weights:revision"
    WEIGHTS_PREFIX = "weights:prefix"
    WEIGHTS_MANIFEST_SHA256 = "weights:manifest-sha256"
    EVALUATION_VERDICT = "evaluation:verdict"
    EVALUATION_REPORT = "evaluation:report"
    EVALUATION_SHA256 = "evaluation:sha256"
    """The digest of its evaluation, the report's: steps/evaluate_staging/recorder.py writes it, verification compares it."""
    EVALUATED_AT = "evaluation:at"
    IMAGE_DIGEST = "image:digest"
    GATE_WAIVED_BY = "approval:gate-waived-by"
