"""Where instances come from, and what an environment file says of it: fallbacks, reservations, keys, tags. Each mistake has its line."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from config.errors import ConfigError
from config.instances import GPU_COUNTS, gpu_memory_bytes
from config.loader import ENVIRONMENTS, MODELS, load_environment, load_model
from config.serving import Serving

KEY = "arn:aws:kms:us-west-2:111122223333:key/11111111-2222-3333-4444-555555555555"
RESERVATION = "arn:aws:sagemaker:us-west-2:111122223333:training-plan/h100"
SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")


def serving(**changes: Any) -> Serving:
    return Serving.model_validate({"instance_type": "ml.p5.48xlarge", "tensor_parallel_size": 8, **changes})


def environment_file(folder: Path, **changes: Any) -> str:
    content = yaml.safe_load((ENVIRONMENTS / "aws.yaml").read_text())
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return str(file)


def model_file(folder: Path, old: str, new: str) -> str:
    file = folder / "mine.yaml"
    file.write_text((MODELS / "qwen3-32b.yaml").read_text().replace(old, new))
    return str(file)


@pytest.mark.parametrize(
    ("made", "reservation", "falls_back", "expected"),
    [
        (serving(), None, True, {"InstanceType": "ml.p5.48xlarge"}),
        (serving(fallback_instance_types=["ml.p5en.48xlarge"]), None, False, {"InstanceType": "ml.p5.48xlarge"}),
        (
            serving(fallback_instance_types=["ml.p5en.48xlarge"], provision_timeout_s=600),
            None,
            True,
            {
                "InstancePools": [
                    {"InstanceType": "ml.p5.48xlarge", "Priority": 1},
                    {"InstanceType": "ml.p5en.48xlarge", "Priority": 2},
                ],
                "VariantInstanceProvisionTimeoutInSeconds": 600,
            },
        ),
        (
            serving(fallback_instance_types=["ml.p5en.48xlarge"]),
            RESERVATION,
            True,
            {
                "InstanceType": "ml.p5.48xlarge",
                "CapacityReservationConfig": {
                    "CapacityReservationPreference": "capacity-reservations-only",
                    "MlReservationArn": RESERVATION,
                },
            },
        ),
    ],
)
def test_a_variant_has_a_type_or_pools_or_a_reservation(
    made: Serving, reservation: str | None, falls_back: bool, expected: dict[str, Any]
) -> None:
    members = made.capacity(reservation, may_fall_back=falls_back)
    timeouts = {"ModelDataDownloadTimeoutInSeconds": 3600, "ContainerStartupHealthCheckTimeoutInSeconds": 1800}
    assert members == expected | timeouts
    variant = {"VariantName": "AllTraffic", "ModelName": "m", "InitialInstanceCount": 1, **members}
    assert not ParamValidator().validate(variant, SAGEMAKER.shape_for("ProductionVariant")).has_errors()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("fallback_instance_types: [ml.p5.4xlarge]", "8 needs 8 GPUs, but one ml.p5.4xlarge has 1"),
        ("fallback_instance_types: [ml.p5.48xlarge]", "stands before already"),
        ("fallback_instance_types: [ml.p5e.48xlarge, ml.p5e.48xlarge]", "stands before already"),
        ("fallback_instance_types: [ml.p5e.48xlarge, ml.p5x.48xlarge]", "'ml.p5x.48xlarge' is not a GPU instance type"),
    ],
)
def test_a_fallback_that_would_not_do_is_refused_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(model_file(tmp_path, "  tensor_parallel_size: 8", f"  tensor_parallel_size: 8\n  {line}"))
    [problem] = caught.value.problems
    assert says in problem.message
    assert problem.line == 12


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kms_key": KEY, "job_instance_types": {"fetch": "ml.g5.4xlarge"}}, "ml.g5.4xlarge has local storage"),
        ({"tags": {"release:model": "x"}}, "tags that begin with"),
        ({"tags": {"aws:x": "x"}}, "tags that begin with"),
        ({"capacity_reservations": [{"arn": "mine", "instance_type": "ml.p5.48xlarge"}]}, "mine"),
        ({"capacity_reservations": [{"arn": RESERVATION, "instance_type": "ml.p5.48xlage"}]}, "did you mean 'ml.p5.48xlarge'"),
        (
            {
                "capacity_reservations": [
                    {"arn": RESERVATION, "instance_type": "ml.p5.48xlarge"},
                    {"arn": f"{RESERVATION}-2", "instance_type": "ml.p5.48xlarge", "endpoints": ["production"]},
                ]
            },
            "is a second reservation of ml.p5.48xlarge for production",
        ),
    ],
)
def test_a_mistake_in_the_environment_file_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_environment(environment_file(tmp_path, **changes))


def test_a_key_goes_with_types_that_have_no_storage_of_their_own(tmp_path: Path) -> None:
    assert load_environment(environment_file(tmp_path, kms_key=KEY)).kms_key == KEY  # the defaults: m5, c5, t3
    assert load_environment(environment_file(tmp_path, job_instance_types={"fetch": "ml.g5.4xlarge"})).kms_key is None


def test_a_reservation_is_for_its_type_and_endpoints_and_in_its_account(tmp_path: Path) -> None:
    there = {
        "account_id": "222222222222",
        "role": "arn:aws:iam::222222222222:role/p",
        "serve_role": "arn:aws:iam::222222222222:role/s",
        "capacity_reservations": [
            {"arn": RESERVATION.replace("111122223333", "222222222222"), "instance_type": "ml.p5.48xlarge"}
        ],
    }
    staging = [{"arn": RESERVATION, "instance_type": "ml.p5.48xlarge", "endpoints": ["staging"]}]
    environment = load_environment(environment_file(tmp_path, capacity_reservations=staging, production=there))
    found = environment.reservation("ml.p5.48xlarge", "staging")
    assert found is not None
    assert found.arn == RESERVATION
    assert environment.reservation("ml.p5en.48xlarge", "staging") is None
    assert environment.reservation("ml.p5.48xlarge", "production") is None
    theirs = environment.for_production.reservation("ml.p5.48xlarge", "production")
    assert theirs is not None
    assert "222222222222" in theirs.arn


def test_gpus_are_as_many_and_as_large_as_ec2_says() -> None:
    """moto keeps what EC2's DescribeInstanceTypes answered."""
    packed = files("moto.ec2") / "resources" / "instance_types.json.gz"
    known = json.loads(gzip.decompress(packed.read_bytes()))
    compared = 0
    for name, count in GPU_COUNTS.items():
        described = known.get(name.removeprefix("ml."))
        if described is None:
            continue
        gpus = described["GpuInfo"]
        assert gpus["Gpus"][0]["Count"] == count, name
        each = gpus["TotalGpuMemoryInMiB"] * 2**20 / count
        assert 0.93 * each <= gpu_memory_bytes(name) <= each, name
        compared += 1
    assert compared > 20
