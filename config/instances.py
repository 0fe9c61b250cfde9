"""The GPU instance types that SageMaker hosts endpoints on, and how many GPUs each has.

Counts: AWS's pages "Amazon EC2 P4/P5/P6 instances" and "Amazon EC2 G5/G6/G6e instances". Names: botocore's enum
`ProductionVariantInstanceType` (a test compares them).
"""

from __future__ import annotations

from config.errors import MisplacedValue
from config.suggest import did_you_mean

_G_SIZES = {
    "xlarge": 1,
    "2xlarge": 1,
    "4xlarge": 1,
    "8xlarge": 1,
    "12xlarge": 4,
    "16xlarge": 1,
    "24xlarge": 4,
    "48xlarge": 8,
}

GPU_COUNTS: dict[str, int] = {
    "ml.p4d.24xlarge": 8,
    "ml.p4de.24xlarge": 8,
    "ml.p5.4xlarge": 1,
    "ml.p5.48xlarge": 8,
    "ml.p5e.48xlarge": 8,
    "ml.p5en.48xlarge": 8,
    "ml.p6-b200.48xlarge": 8,
    "ml.p6-b300.48xlarge": 8,
    "ml.p6e-gb200.36xlarge": 4,
    **{f"ml.{family}.{size}": count for family in ("g5", "g6", "g6e") for size, count in _G_SIZES.items()},
}


_GPU_MEMORY_GB = {
    "p4d": 40, "p4de": 80, "p5": 80, "p5e": 141, "p5en": 141, "p6-b200": 179, "p6-b300": 268, "p6e-gb200": 185, "g5": 24, "g6": 24, "g6e": 48,
}  # fmt: skip


def gpu_memory_bytes(instance_type: str) -> int:
    """Return how much memory one of its GPUs has, as the same pages say. Bytes; ValueError as `gpu_count`."""
    gpu_count(instance_type)
    return _GPU_MEMORY_GB[instance_type.split(".")[1]] * 10**9


def gpu_count(instance_type: str) -> int:
    """Return how many GPUs one instance has; ValueError names the nearest known type, and where all of them are."""
    count = GPU_COUNTS.get(instance_type)
    if count is None:
        raise ValueError(
            f"{instance_type!r} is not a GPU instance type that this project knows; {did_you_mean(instance_type, GPU_COUNTS)}"
            "All of them: config/instances.py"
        )
    return count


def check_each(instance_types: list[str]) -> list[str]:
    """Return them; MisplacedValue at the index of one that `gpu_count` does not know, or that stands there twice."""
    for index, instance_type in enumerate(instance_types):
        try:
            gpu_count(instance_type)
        except ValueError as error:
            raise MisplacedValue((index,), str(error)) from None
        if instance_type in instance_types[:index]:
            raise MisplacedValue((index,), f"{instance_type} stands before already; name each instance type once")
    return instance_types
