"""The GPU instance types that SageMaker hosts endpoints on: how many GPUs each has, which, and how large.

Names: botocore's enum `ProductionVariantInstanceType`; tests fail when it has a type with GPUs that is not here. GPUs and memory: EC2's
DescribeInstanceTypes (`GpuInfo`), as moto ships its answers (a test compares them); P6e-GB200: AWS, "Amazon EC2 P6e
UltraServers" (185 GB). Compute capability: NVIDIA, "CUDA GPU Compute Capability". What SGLang needs: its "Install SGLang",
"FlashInfer supports sm75 and above"; bfloat16 begins with sm80. What the driver shows: nvidia-smi of an H200 in sgl-project/sglang issue
3196; of H100s ("81559MiB") and L4s ("23034MiB") in many projects' logs.
"""

from __future__ import annotations

from dataclasses import dataclass

from config.errors import MisplacedValue
from config.reading.suggest import did_you_mean

_LEAST_CAPABILITY = 7.5


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    name: str
    memory_mib: int
    """What EC2 says; of a T4 what its error correction leaves."""
    capability: float
    """CUDA's compute capability."""
    driver_mib: int | None = None
    """What nvidia-smi shows; None: not seen, or what EC2 says."""
    has_nvlink: bool = False
    """Whether an instance's GPUs are joined by NVLink (AWS's pages of P4, P5 and P6); others by PCIe."""

    @property
    def usable_mib(self) -> int:
        """What CUDA programs share."""
        return self.driver_mib or self.memory_mib

    @property
    def has_bfloat16(self) -> bool:
        """Whether it computes in bfloat16; without, SGLang needs dtype: half."""
        return self.capability >= 8.0

    @property
    def has_fp8(self) -> bool:
        """Whether it computes in FP8; without, FP8 weights are unpacked by Marlin kernels (from 8.0 on)."""
        return self.capability >= 8.9


_FIFTH = {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "12xlarge": 4, "16xlarge": 1, "24xlarge": 4, "48xlarge": 8}
_SEVENTH = {"2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "12xlarge": 2, "24xlarge": 4, "48xlarge": 8}
_H100 = Gpu("H100", 81_920, 9.0, driver_mib=81_559, has_nvlink=True)
_H200 = Gpu("H200", 144_384, 9.0, driver_mib=143_771, has_nvlink=True)

_FAMILIES: dict[str, tuple[Gpu, dict[str, int]]] = {
    "g4dn": (Gpu("T4", 15_360, 7.5), {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "12xlarge": 4, "16xlarge": 1}),
    "g5": (Gpu("A10G", 22_888, 8.6), _FIFTH),
    "g6": (Gpu("L4", 22_888, 8.9, driver_mib=23_034), _FIFTH),
    "g6e": (Gpu("L40S", 45_776, 8.9), _FIFTH),
    "g7": (Gpu("RTX PRO 4500", 32_768, 12.0), _SEVENTH),
    "g7e": (Gpu("RTX PRO 6000", 98_304, 12.0), _SEVENTH),
    "p2": (Gpu("K80", 12_288, 3.7), {"xlarge": 1, "8xlarge": 8, "16xlarge": 16}),
    "p3": (Gpu("V100", 16_384, 7.0), {"2xlarge": 1, "8xlarge": 4, "16xlarge": 8}),
    "p4d": (Gpu("A100", 40_960, 8.0, has_nvlink=True), {"24xlarge": 8}),
    "p4de": (Gpu("A100", 81_920, 8.0, has_nvlink=True), {"24xlarge": 8}),
    "p5": (_H100, {"4xlarge": 1, "48xlarge": 8}),
    "p5e": (_H200, {"48xlarge": 8}),
    "p5en": (_H200, {"48xlarge": 8}),
    "p6-b200": (Gpu("B200", 183_359, 10.0, has_nvlink=True), {"48xlarge": 8}),
    "p6-b300": (Gpu("B300", 275_040, 10.3, has_nvlink=True), {"48xlarge": 8}),
    "p6e-gb200": (Gpu("GB200", 176_429, 10.0, has_nvlink=True), {"36xlarge": 4}),
}

KNOWN_COUNTS: dict[str, int] = {
    f"ml.{family}.{size}": count for family, (_, sizes) in _FAMILIES.items() for size, count in sizes.items()
}
"""Every GPU instance type → how many GPUs it has, those that are too old for SGLang among them."""

GPU_COUNTS: dict[str, int] = {
    name: count for name, count in KNOWN_COUNTS.items() if _FAMILIES[name.split(".")[1]][0].capability >= _LEAST_CAPABILITY
}
"""Every instance type that SGLang runs on → how many GPUs it has."""


def gpu(instance_type: str) -> Gpu:
    """Return what GPUs it has; ValueError as `gpu_count`."""
    gpu_count(instance_type)
    return _FAMILIES[instance_type.split(".")[1]][0]


def gpu_memory_bytes(instance_type: str) -> int:
    """Return how much memory one of its GPUs has. Bytes; ValueError as `gpu_count`."""
    return gpu(instance_type).memory_mib * 2**20


def gpu_count(instance_type: str) -> int:
    """Return how many GPUs one instance has; ValueError names the nearest known type, and where all of them are."""
    count = GPU_COUNTS.get(instance_type)
    if count is None:
        raise ValueError(f"{instance_type!r} {_why_not(instance_type)}")
    return count


def _why_not(instance_type: str) -> str:
    whole = instance_type.strip().lower()
    whole = whole if whole.startswith("ml.") else f"ml.{whole}"
    if whole in KNOWN_COUNTS and whole not in GPU_COUNTS:
        chip = _FAMILIES[whole.split(".")[1]][0]
        return (
            f"has {chip.name} GPUs of compute capability {chip.capability}, and SGLang needs {_LEAST_CAPABILITY} or more; "
            "choose a newer type, as in ml.g6.xlarge"
        )
    if whole in GPU_COUNTS:
        return f"is not how SageMaker writes it; write {whole}"
    family, _, size = whole.removeprefix("ml.").partition(".")
    if family in _FAMILIES and whole.removeprefix("ml.").count("."):
        sizes = ", ".join(f"ml.{family}.{one}" for one in _FAMILIES[family][1])
        return f"is not a size that SageMaker has of ml.{family}; {did_you_mean(f'ml.{family}.{size}', GPU_COUNTS)}it has {sizes}"
    if family.startswith(("inf", "trn", "dl")):
        return "has no NVIDIA GPUs, which SGLang's image is built for; choose a type with GPUs, as in ml.p5.48xlarge"
    return (
        f"is not a GPU instance type that this project knows; {did_you_mean(whole if '.' in instance_type else instance_type, GPU_COUNTS)}"
        "All of them: config/instances.py"
    )


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
