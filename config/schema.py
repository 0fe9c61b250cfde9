"""The format of model files and environment files: the only place that knows it.

`schema.json`, for editors, is generated from here (`python -m config.loader --schema`).
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from config.base import Strict
from config.errors import MisplacedValue
from config.instances import GPU_COUNTS, gpu_count
from config.load_profiles import METRICS, LoadProfile
from config.suggest import nearest
from config.updates import AllAtOnce, Update

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""Lower-case letters, digits and dashes: it becomes part of endpoint, pipeline and package group names (63 characters)."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_OWNED_FLAGS = {
    "model-path": "the weights are always at /opt/ml/model",
    "model": "the weights are always at /opt/ml/model",
    "host": "the container listens where SageMaker expects it",
    "port": "the container listens where SageMaker expects it",
    "tp-size": "use serving.tensor_parallel_size",
    "tensor-parallel-size": "use serving.tensor_parallel_size",
    "trust-remote-code": "use weights.unsafe: [remote_code]",
    "api-key": "secrets do not belong in a model file; SageMaker authenticates callers",
}


class Weights(Strict):
    """Which weights: a Hugging Face repository at one commit."""

    hub: Literal["local", "huggingface.co"] = "huggingface.co"
    """`huggingface.co`, or `local`: the Hub that this project runs on loopback."""
    repository: str
    """ORGANISATION/NAME on the Hub."""
    revision: str
    """The commit: 40 hexadecimal digits. A branch or tag is refused, since it can move after it was evaluated."""
    include: list[str] = []
    """Only files matching one of these patterns (fnmatch on the whole path); empty means all."""
    exclude: list[str] = []
    """Never files matching one of these."""
    unsafe: list[Literal["pickle", "remote_code"]] = []
    """Formats that execute code when loaded, allowed by name. Empty: safetensors and GGUF only, no remote code."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Refuse a repository whose chosen files are larger than this in total."""
    memory_bytes: int = Field(default=512 * 1024**2, ge=64 * 1024**2)
    """How much of a fetch may be in memory at a time, whatever the model's size."""
    hosts: int = Field(default=1, ge=1, le=20)
    """How many instances share the fetch."""

    @field_validator("repository")
    @classmethod
    def _repository_has_owner(cls, value: str) -> str:
        if not _REPOSITORY.fullmatch(value):
            raise ValueError(f"{value!r} is not ORGANISATION/NAME, as in Qwen/Qwen3-32B")
        return value

    @field_validator("revision")
    @classmethod
    def _revision_is_a_commit(cls, value: str) -> str:
        if not _COMMIT.fullmatch(value):
            raise ValueError(
                f"{value!r} is a branch, a tag or a short id, and those can move after they were evaluated; expected the "
                "full commit: 40 hexadecimal digits, from the repository's page under Files and versions → History"
            )
        return value


class Serving(Strict):
    """How SGLang serves the weights."""

    instance_type: str
    """The SageMaker instance type of staging and production, as in ml.p5.48xlarge."""
    tensor_parallel_size: int = Field(ge=1)
    """Over how many GPUs of one instance the model is split."""
    image: str = "project"
    """`project` (container/Dockerfile), `aws` (AWS's own SGLang image for SageMaker), or an image URI."""
    sglang: dict[str, JsonValue] = {}
    """SGLang's server flags by their own names without the dashes, as in mem-fraction-static: 0.88."""
    download_timeout_s: int = Field(default=3600, ge=60, le=3600)
    """How long SageMaker may take to copy the weights to an instance. Seconds; SageMaker's own limit is 3600."""
    startup_timeout_s: int = Field(default=1800, ge=60, le=3600)
    """How long the container may take until /ping answers. Seconds; SageMaker's own limit is 3600."""

    @field_validator("instance_type")
    @classmethod
    def _instance_type_is_known(cls, value: str) -> str:
        gpu_count(value)
        return value

    @field_validator("sglang")
    @classmethod
    def _flags_are_sglangs(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for flag in value:
            if flag in _OWNED_FLAGS:
                raise MisplacedValue((flag,), f"this flag is not set here: {_OWNED_FLAGS[flag]}")
        from config.sglang_flags import check  # here: reads a file, and only model files need it

        check(value)
        return value

    @model_validator(mode="after")
    def _fits_the_instance(self) -> Self:
        gpus = GPU_COUNTS[self.instance_type]
        if self.tensor_parallel_size > gpus:
            raise MisplacedValue(
                ("tensor_parallel_size",),
                f"{self.tensor_parallel_size} needs {self.tensor_parallel_size} GPUs, but one {self.instance_type} has {gpus}; "
                "lower it or choose a larger instance type",
            )
        return self

    def container_environment(self, *, trust_remote_code: bool) -> dict[str, str]:
        """The `SM_SGLANG_*` variables that say all this to `container/serve` (and to AWS's own entrypoint)."""
        flags: dict[str, JsonValue] = {"tp-size": self.tensor_parallel_size, **self.sglang}
        if trust_remote_code:
            flags["trust-remote-code"] = True
        return {f"SM_SGLANG_{name.upper().replace('-', '_')}": _as_text(value) for name, value in sorted(flags.items())}


class Canary(Strict):
    """A prompt whose answer is known."""

    prompt: str = Field(min_length=1)
    """What is asked, greedily (temperature 0)."""
    expect: str = Field(min_length=1)
    """What the answer must contain, ignoring case."""
    max_tokens: int = Field(default=48, ge=1)
    """How many tokens the answer may have."""


class Evaluation(Strict):
    """What staging must show before a version may reach production."""

    load_profiles: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], LoadProfile] = Field(min_length=1)
    """Name → load profile, run in this order."""
    canaries: list[Canary] = []
    """Prompts with known answers; one wrong answer fails the gate."""
    instance_count: int = Field(default=1, ge=1)
    """How many instances the staging endpoint has."""
    client_processes: int | None = Field(default=None, ge=1)
    """How many client processes put the load on, at most; None: one a core."""
    client_lag_at_most_ms: float = Field(default=50.0, gt=0)
    """A run whose client was later than this (p99) is invalid: its numbers say more about the client. Milliseconds."""
    max_runtime_s: int = Field(default=7200, ge=60)
    """The staging endpoint expires this long after it was asked for, whatever happens. Seconds."""

    @field_validator("load_profiles")
    @classmethod
    def _metrics_exist(cls, value: dict[str, LoadProfile]) -> dict[str, LoadProfile]:
        for name, profile in value.items():
            for metric in profile.objectives:
                if metric not in METRICS:
                    raise MisplacedValue(
                        (name, "objectives", metric), f"no such metric; did you mean {nearest(metric, METRICS)!r}?"
                    )
        return value


class Production(Strict):
    """Where approved versions go."""

    endpoint: Name
    """The endpoint's name."""
    instance_count: int = Field(default=1, ge=1)
    """How many instances serve it."""
    update: Update = AllAtOnce(strategy="all_at_once")
    """How a new version replaces the old one."""
    alarms: list[str] = Field(default=[], max_length=10)
    """CloudWatch alarms that roll an update back when they go off while it runs (SageMaker takes 10 at most)."""


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

    def container_environment(self) -> dict[str, str]:
        """The serving container's environment."""
        return self.serving.container_environment(trust_remote_code="remote_code" in self.weights.unsafe)


class Roles(Strict):
    """IAM role ARNs, one a duty, so that each can be given only what it needs."""

    pipeline: str
    """Runs the pipelines."""
    fetch: str
    """Runs FetchWeights."""
    evaluate: str
    """Runs EvaluateStaging and Reject."""
    promote: str
    """Runs VerifyApproval and Promote."""
    serve: str
    """Runs the endpoints' containers."""


class Images(Strict):
    """Container image URIs."""

    steps: str
    """What jobs run in (container/steps.Dockerfile)."""
    serving: str
    """What endpoints run in (container/Dockerfile)."""


class JobInstanceTypes(Strict):
    """The instance types that jobs run on."""

    fetch: str = "ml.m5.4xlarge"
    """FetchWeights: network and two cores a GB/s of hashing."""
    evaluate: str = "ml.c5.4xlarge"
    """EvaluateStaging: the load clients."""
    control: str = "ml.t3.medium"
    """Everything that only calls AWS."""


class Environment(Strict):
    """Where releases run: an AWS account and region, or this machine."""

    kind: Literal["local", "aws"]
    """`local` starts a SageMaker on this machine; `aws` uses the account that the credentials name."""
    region: str
    """The AWS region."""
    account_id: Annotated[str, Field(pattern=r"^\d{12}$")]
    """The AWS account."""
    bucket: str
    """The S3 bucket of weights, evaluations and release files."""
    roles: Roles
    """IAM roles."""
    images: Images
    """Container images."""
    hub_token_secret: str | None = None
    """The Secrets Manager secret that holds the Hugging Face token; needed for gated repositories only."""
    job_instance_types: JobInstanceTypes = JobInstanceTypes()
    """What jobs run on."""
    kms_key: str | None = None
    """The KMS key ARN that encrypts job volumes and outputs; None: AWS's own keys."""
    subnets: list[str] = []
    """The VPC subnets that jobs and endpoints run in; empty: no VPC."""
    security_groups: list[str] = []
    """The security groups of those."""
    instance_usd_per_hour: dict[str, Annotated[float, Field(gt=0)]] = {}
    """What an instance type costs here, for the cost of a token. US dollars an hour."""
    inference_ami_version: str | None = None
    """The host image of endpoint instances; AWS's CUDA 13 images need al2023-ami-sagemaker-inference-gpu-4-1."""

    @model_validator(mode="after")
    def _vpc_is_whole(self) -> Self:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups go together: give both or neither")
        return self


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
        """`s3://BUCKET/weights/REPO/REVISION/`, where FetchWeights puts the weights."""
        weights = self.model.weights
        return f"s3://{self.environment.bucket}/weights/{weights.repository}/{weights.revision}/"

    @property
    def evaluations_prefix(self) -> str:
        """`s3://BUCKET/evaluations/NAME`: the model's evaluations, one folder a pipeline execution."""
        return f"s3://{self.environment.bucket}/evaluations/{self.name}"

    @property
    def package_group(self) -> str:
        """The name of the model package group of this model."""
        return f"release-{self.name}"

    def to_json(self) -> str:
        """The file's bytes: the same for the same release."""
        return self.model_dump_json(indent=2) + "\n"

    @property
    def sha256(self) -> str:
        """The digest of `to_json`, which names the file in S3."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _as_text(value: JsonValue) -> str:
    """A flag's value as an environment variable: text as it is, everything else as JSON (true, 0.88, {"a": 1})."""
    return value if isinstance(value, str) else json.dumps(value)
