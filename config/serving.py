"""The section `serving` of a model file: how SGLang serves the weights, on which instances."""

from __future__ import annotations

import json
from typing import Self

from pydantic import Field, JsonValue, field_validator, model_validator

from config.base import Strict
from config.errors import MisplacedValue
from config.instances import GPU_COUNTS, gpu_count

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


def _as_text(value: JsonValue) -> str:
    """A flag's value as an environment variable: text as it is, everything else as JSON (true, 0.88, {"a": 1})."""
    return value if isinstance(value, str) else json.dumps(value)
