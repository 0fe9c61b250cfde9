"""A model file as a whole, and what it becomes together with an environment: a release. Each section has a module of its own.

`schema.json`, for editors, is generated from here (`python -m config`).
"""

from __future__ import annotations

import hashlib
from typing import Literal, Self

from pydantic import model_validator

from config.base import Name, Strict
from config.environment import Environment
from config.errors import MisplacedValue
from config.evaluation import Evaluation
from config.instances import GPU_COUNTS
from config.production import Production
from config.serving import Serving
from config.updates import LONGEST_UPDATE_S
from config.weights import Weights

PACKAGE_GROUP_PREFIX = "release-"
"""What the names of the project's model package groups begin with; the model's name follows. The rule for approvals goes by it."""
_LONGEST_JOB_S = 400_000
"""What a processing job may take, with room to end (432,000 s: MaxRuntimeInSeconds of ProcessingStoppingCondition). Seconds."""
_PROVISION_S = 1800
"""How long capacity is looked for where the model file says nothing. Seconds; an estimate, SageMaker's own default is not published."""


class ModelFile(Strict):
    """One released model: the whole truth of a release."""

    weights: Weights
    """Which weights."""
    serving: Serving
    """How they are served."""
    evaluation: Evaluation
    """What must hold before they may reach production."""
    approval: Literal["manual", "automatic"] = "manual"
    """Who approves a version that passed the gate: a person in the Model Registry, or the gate itself."""
    production: Production
    """Where they go."""

    @model_validator(mode="after")
    def _fits_the_staging_instances(self) -> Self:
        needed = self.serving.tensor_parallel_size
        for index, instance_type in enumerate(self.evaluation.staging.instance_types):
            if GPU_COUNTS[instance_type] < needed:
                raise MisplacedValue(
                    ("evaluation", "staging", "instance_types", index),
                    f"serving.tensor_parallel_size {needed} needs {needed} GPUs, but one {instance_type} has "
                    f"{GPU_COUNTS[instance_type]}; leave it out",
                )
        return self

    def container_environment(self) -> dict[str, str]:
        """Return the serving container's environment."""
        return self.serving.container_environment(trust_remote_code="remote_code" in self.weights.unsafe)


class Release(Strict):
    """A resolved model file: what every step of one execution is given, as release.json."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    name: Name
    """The model's name: the model file's name without its ending."""
    model: ModelFile
    """The model file as written, defaults filled in."""
    environment: Environment
    """The environment it was resolved for."""
    serving_image: str
    """The image URI that `model.serving.image` stands for."""

    @property
    def weights_prefix(self) -> str:
        """`s3://BUCKET/weights/REPO/REVISION/` (see `Weights.folder`), where FetchWeights puts the weights."""
        return f"s3://{self.environment.bucket}/weights/{self.model.weights.folder}/"

    @property
    def evaluations_prefix(self) -> str:
        """`s3://BUCKET/evaluations/NAME`: the model's evaluations, one folder a pipeline execution."""
        return f"s3://{self.environment.bucket}/evaluations/{self.name}"

    @property
    def package_group(self) -> str:
        """The name of the model package group of this model."""
        return f"{PACKAGE_GROUP_PREFIX}{self.name}"

    @property
    def start_s(self) -> float:
        """How long an endpoint of this model may take to come up: capacity found, weights copied, container started. Seconds."""
        serving = self.model.serving
        return (serving.provision_timeout_s or _PROVISION_S) + serving.download_timeout_s + serving.startup_timeout_s

    @property
    def longest_evaluation_s(self) -> int:
        """How long an evaluation may take: every try to find capacity, then the staging endpoint's whole life. Seconds."""
        evaluation = self.model.evaluation
        tries = (evaluation.staging.capacity_retries + 1) * max(1, len(evaluation.staging.instance_types)) - 1
        search_s = (self.model.serving.provision_timeout_s or _PROVISION_S) * tries
        waits_s = evaluation.staging.capacity_retries * evaluation.staging.capacity_wait_s
        return int(min(evaluation.max_runtime_s + search_s + waits_s, _LONGEST_JOB_S))

    @property
    def update_timeout_s(self) -> int:
        """How long an update of production may take: its strategy's worst case, within what SageMaker takes as
        MaximumExecutionTimeoutInSeconds (600 to 28,800; API reference of `RollingUpdatePolicy`). Seconds."""
        production = self.model.production
        longest = production.update.longest_s(production.instance_count, self.start_s)
        return int(min(max(longest, 600), LONGEST_UPDATE_S))

    def to_json(self) -> str:
        """Return the file's bytes: the same for the same release."""
        return self.model_dump_json(indent=2) + "\n"

    @property
    def sha256(self) -> str:
        """The digest of `to_json`, which names the file in S3."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()
