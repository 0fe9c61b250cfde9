"""The format of environment files: an AWS account and region, or this machine."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from config.base import Strict, Written
from config.errors import MisplacedValue
from config.instances import gpu_count

_ACCOUNT = Written(r"^\d{12}$", "an AWS account: 12 digits without dashes")
_ADDRESS = Written(r"^https?://[^/]+$", "an address without a path, as in https://huggingface.co")
_PLAN_ARN = Written(
    r"^arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:[a-z0-9-]{1,14}/.+$",
    "the ARN of a training plan, as in arn:aws:sagemaker:us-west-2:111122223333:training-plan/NAME",
)


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
    reap: str | None = None
    """Runs Reap, which an hourly rule starts; None: no pipeline for it is made."""


class Images(Strict):
    """Container images: a repository alone means the image that this tree's content makes, a tag or digest another that is there already."""

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


_LOCAL_STORAGE = re.compile(r"ml\.([a-z]+\d+[a-z]*d[a-z]*|g[4-7]\w*|p[3-6]\w*)\.")
"""Instance types with local storage, which is encrypted by a hardware module and not by a key (API reference of `ProcessingClusterConfig`,
VolumeKmsKeyId): those with a `d` behind the generation, and the GPU families."""

Purpose = Literal["staging", "production"]
"""What an endpoint is for."""


class CapacityReservation(Strict):
    """Reserved instances: a SageMaker training plan whose target is `endpoint`. An endpoint uses one plan, and only of its own instance
    type (SageMaker developer guide, "Using training plans for SageMaker inference endpoints")."""

    arn: Annotated[str, _PLAN_ARN, Field(max_length=258)]
    """The plan's ARN. While it is over, or full, endpoints that name it do not start: SageMaker knows no other preference."""
    instance_type: str
    """The instance type that the plan reserves."""
    endpoints: list[Purpose] = Field(default=["staging", "production"], min_length=1)
    """Which endpoints of that type use it."""

    @field_validator("instance_type")
    @classmethod
    def _instance_type_is_known(cls, value: str) -> str:
        gpu_count(value)
        return value


def _reserved(reservations: list[CapacityReservation], instance_type: str, purpose: Purpose) -> CapacityReservation | None:
    return next((one for one in reservations if one.instance_type == instance_type and purpose in one.endpoints), None)


def _check_reservations(reservations: list[CapacityReservation]) -> None:
    """Raise MisplacedValue when two reservations are for the same endpoints."""
    for index, reservation in enumerate(reservations):
        for purpose in reservation.endpoints:
            if _reserved(reservations, reservation.instance_type, purpose) is not reservation:
                raise MisplacedValue(
                    ("capacity_reservations", index, "arn"),
                    f"{reservation.arn!r} is a second reservation of {reservation.instance_type} for {purpose}; an endpoint uses one",
                )


class ProductionAccount(Strict):
    """Another account that production is in. Registry, bucket, images and pipelines stay in the environment's own."""

    account_id: Annotated[str, _ACCOUNT]
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
    capacity_reservations: list[CapacityReservation] = []
    """Reserved instances there, for production."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _check_reservations(self.capacity_reservations)
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
    account_id: Annotated[str, _ACCOUNT]
    """The AWS account."""
    bucket: str
    """The S3 bucket of weights, evaluations and release files."""
    roles: Roles
    """IAM roles."""
    images: Images
    """Container images."""
    hub_endpoint: Annotated[str, _ADDRESS] = "https://huggingface.co"
    """Where huggingface.co is reached: another address is a mirror of it, for networks that cannot go there."""
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
    """What an instance type costs here, jobs' types too: for `plan`, and for the cost of a token. US dollars an hour."""
    production: ProductionAccount | None = None
    """The account that production is in, where it is another; None: this one."""
    inference_ami_version: str | None = None
    """The host image of endpoint instances; AWS's CUDA 13 images need al2023-ami-sagemaker-inference-gpu-4-1."""
    capacity_reservations: list[CapacityReservation] = []
    """Reserved instances that endpoints must run on; empty: on demand."""
    tags: dict[Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=256)]] = Field(
        default={}, max_length=40
    )
    """Tags of your own (a cost centre, an owner) for every job, model and endpoint, beside the project's `release:` tags."""

    @field_validator("tags")
    @classmethod
    def _tags_are_free(cls, value: dict[str, str]) -> dict[str, str]:
        for key in value:
            if key.lower().startswith(("aws:", "release:")):
                raise MisplacedValue(
                    (key,), "tags that begin with `aws:` are AWS's, with `release:` the project's; choose another name"
                )
        return value

    @model_validator(mode="after")
    def _reservations_are_apart(self) -> Self:
        _check_reservations(self.capacity_reservations)
        return self

    @model_validator(mode="after")
    def _jobs_can_be_encrypted(self) -> Self:
        if self.kms_key is not None:
            for duty, instance_type in self.job_instance_types.model_dump().items():
                if _LOCAL_STORAGE.match(instance_type):
                    raise MisplacedValue(
                        ("job_instance_types", duty),
                        f"{instance_type} has local storage, for which SageMaker takes no kms_key; choose a type without, as in ml.m5.4xlarge",
                    )
        return self

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
                "capacity_reservations": there.capacity_reservations,
            }
        )

    def reservation(self, instance_type: str, purpose: Purpose) -> CapacityReservation | None:
        """Return the reserved instances that an endpoint of that type and purpose runs on; None: on demand."""
        return _reserved(self.capacity_reservations, instance_type, purpose)
