"""The format of environment files: an AWS account and region, or this machine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.base import Strict


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
