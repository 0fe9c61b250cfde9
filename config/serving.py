"""The section `serving` of a model file: how SGLang serves the weights, on which instances."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from config.base import Strict
from config.errors import MisplacedValue
from config.instances import GPU_COUNTS, check_each, gpu_count
from config.sglang_flags import check_flags, check_flags_for_aws

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
    fallback_instance_types: list[str] = Field(default=[], max_length=4)
    """What production's instances are while there is no capacity of `instance_type`, best first. Staging need not have measured these
    (evaluation.staging), so name types that are at least as fast. An instance type that the environment has reserved has no fallback."""
    provision_timeout_s: int | None = Field(default=None, ge=300, le=3600)
    """How long SageMaker looks for capacity before a start fails; None: its own default. Seconds."""
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
        check_flags(value)
        return value

    @field_validator("fallback_instance_types")
    @classmethod
    def _fallbacks_are_known(cls, value: list[str]) -> list[str]:
        return check_each(value)

    @model_validator(mode="after")
    def _reaches_sglang_in_awss_image(self) -> Self:
        if self.image == "aws":
            try:
                check_flags_for_aws(self.sglang)
            except MisplacedValue as error:
                raise MisplacedValue(("sglang", *error.location), str(error)) from None
        return self

    @model_validator(mode="after")
    def _fits_the_instances(self) -> Self:
        self._check_size(("tensor_parallel_size",), self.instance_type)
        for index, instance_type in enumerate(self.fallback_instance_types):
            location = ("fallback_instance_types", index)
            if instance_type == self.instance_type:
                raise MisplacedValue(location, f"{instance_type} stands before already; name each instance type once")
            self._check_size(location, instance_type)
        return self

    def _check_size(self, location: tuple[str | int, ...], instance_type: str) -> None:
        gpus = GPU_COUNTS[instance_type]
        if self.tensor_parallel_size > gpus:
            raise MisplacedValue(
                location,
                f"{self.tensor_parallel_size} needs {self.tensor_parallel_size} GPUs, but one {instance_type} has {gpus}; "
                "lower it or choose a larger instance type",
            )

    def capacity(self, reservation_arn: str | None, *, may_fall_back: bool) -> dict[str, Any]:
        """Return the members of a boto3 `ProductionVariant` that say on what it runs and how long it may take to come up.

        Source: API reference of `ProductionVariant`, `InstancePool` (an `InstanceType` is left out beside pools: "Deploy to multiple
        instance types with instance pools") and `ProductionVariantCapacityReservationConfig`.
        """
        members: dict[str, Any] = {
            "ModelDataDownloadTimeoutInSeconds": self.download_timeout_s,
            "ContainerStartupHealthCheckTimeoutInSeconds": self.startup_timeout_s,
        }
        if self.provision_timeout_s is not None:
            members["VariantInstanceProvisionTimeoutInSeconds"] = self.provision_timeout_s
        if reservation_arn is not None:
            reserved = {"CapacityReservationPreference": "capacity-reservations-only", "MlReservationArn": reservation_arn}
            return {"InstanceType": self.instance_type, "CapacityReservationConfig": reserved, **members}
        if may_fall_back and self.fallback_instance_types:
            types = [self.instance_type, *self.fallback_instance_types]
            pools = [{"InstanceType": name, "Priority": priority} for priority, name in enumerate(types, start=1)]
            return {"InstancePools": pools, **members}
        return {"InstanceType": self.instance_type, **members}

    def container_environment(self, *, trust_remote_code: bool) -> dict[str, str]:
        """Return the `SM_SGLANG_*` variables that say all this to `container/serve` (and to AWS's own entrypoint)."""
        flags: dict[str, JsonValue] = {"tp-size": self.tensor_parallel_size, **self.sglang}
        if trust_remote_code:
            flags["trust-remote-code"] = True
        return {f"SM_SGLANG_{name.upper().replace('-', '_')}": _as_text(value) for name, value in sorted(flags.items())}


def _as_text(value: JsonValue) -> str:
    """Return a flag's value as an environment variable: text as it is, everything else as JSON (true, 0.88, {"a": 1})."""
    return value if isinstance(value, str) else json.dumps(value)
