"""Instances of which the images file says how many there are: fallbacks in their order, and a wait for what is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from botocore.exceptions import ClientError

from sagemaker_local.testing import running
from tests.sagemaker_local.conftest import IMAGE, write_images_file
from tests.sagemaker_local.hosting_client import HostingClient

POOLS = [{"InstanceType": f"ml.{name}.48xlarge", "Priority": priority} for priority, name in ((2, "p5e"), (1, "p5"), (3, "p5en"))]


def test_an_endpoint_takes_the_first_instance_type_that_there_is_and_waits_where_it_may(tmp_path: Path) -> None:
    images = write_images_file(tmp_path)
    capacity = {"ml.p5.48xlarge": 1, "ml.p5e.48xlarge": 0}
    images.write_text(yaml.safe_dump({**yaml.safe_load(images.read_text()), "capacity": capacity}))
    with running(tmp_path / "state", images) as server:
        hosting = HostingClient(server.client("sagemaker"), IMAGE)
        first = hosting.endpoint(instances=2, variant={"InstancePools": POOLS, "InstanceType": None})
        (variant,) = hosting.sagemaker.describe_endpoint(EndpointName=first)["ProductionVariants"]
        counts = {pool["InstanceType"]: pool["CurrentInstanceCount"] for pool in variant["InstancePools"]}
        assert counts == {"ml.p5.48xlarge": 1, "ml.p5e.48xlarge": 0, "ml.p5en.48xlarge": 1}
        runtime = server.client("sagemaker-runtime")
        answers = [json.loads(runtime.invoke_endpoint(EndpointName=first, Body=b"{}")["Body"].read()) for _ in range(20)]
        assert {answer["instance_type"] for answer in answers} == {"ml.p5.48xlarge", "ml.p5en.48xlarge"}

        scarce = {"InstanceType": "ml.p5.48xlarge"}
        failed = hosting.begin(hosting.config(variant=scarce))
        assert "InsufficientInstanceCapacity" in hosting.settled(failed, "Failed")["FailureReason"]
        waiting = hosting.begin(hosting.config(variant={**scarce, "VariantInstanceProvisionTimeoutInSeconds": 300}))
        hosting.gone(first)
        hosting.settled(waiting, "InService")

        with pytest.raises(ClientError, match="Exactly one of InstanceType and InstancePools is required"):
            hosting.config(variant={"InstancePools": POOLS})
        with pytest.raises(ClientError, match=r"NotImplemented.*ModelNameOverride"):
            hosting.config(variant={"InstancePools": [{**POOLS[0], "ModelNameOverride": "m"}], "InstanceType": None})
