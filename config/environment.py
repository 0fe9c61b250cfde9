"""The format of environment files: an AWS account and region, or this machine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.base import Strict
from config.errors import MisplacedValue


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


class ProductionAccount(Strict):
    """Another account that production is in. Registry, bucket, images and pipelines stay in the environment's own."""

    account_id: Annotated[str, Field(pattern=r"^\d{12}$")]
    """The AWS account."""
    role: str
    """The IAM role there that Promote, `status` and `rollback` assume; it trusts the environment's promote role."""
    serve_role: str
    """The IAM role there that runs the production endpoints' containers."""
    kms_key: str | None = None
    """The KMS key ARN there that encrypts the endpoints' volumes; None: AWS's own keys."""
    subnets: list[str] = []
    """The VPC subnets there that endpoints run in; empty: no VPC."""
    security_groups: list[str] = []
    """The security groups of those."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for name in ("role", "serve_role"):
            if f":iam::{self.account_id}:role/" not in getattr(self, name):
                raise MisplacedValue(
                    (name,), f"{getattr(self, name)!r} is no role of the account {self.account_id}, where production is"
                )
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups go together: give both or neither")
        return self


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
    production: ProductionAccount | None = None
    """The account that production is in, where it is another; None: this one."""
    inference_ami_version: str | None = None
    """The host image of endpoint instances; AWS's CUDA 13 images need al2023-ami-sagemaker-inference-gpu-4-1."""

    @model_validator(mode="after")
    def _vpc_is_whole(self) -> Self:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups go together: give both or neither")
        return self

    @property
    def for_production(self) -> Environment:
        """This environment as production's endpoints see it: account, serving role, key and network of the account that they are in."""
        there = self.production
        if there is None:
            return self
        return self.model_copy(
            update={
                "account_id": there.account_id,
                "roles": self.roles.model_copy(update={"serve": there.serve_role}),
                "kms_key": there.kms_key,
                "subnets": there.subnets,
                "security_groups": there.security_groups,
            }
        )
