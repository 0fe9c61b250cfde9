"""What AWS calls things, out of botocore's own data: Regions and partitions, instance types, AMI versions.

`python -m config` writes it to aws_facts.json, so that a check of a file loads no botocore; a test fails when botocore knows more.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("aws_facts.json")


@dataclass(frozen=True)
class AwsFacts:
    """Names as AWS has them."""

    source: str
    """Where they come from."""
    regions: dict[str, str]
    """Region that SageMaker is in → its partition."""
    hosting_instance_types: list[str]
    """What endpoints run on."""
    processing_instance_types: list[str]
    """What jobs run on."""
    inference_ami_versions: list[str]
    """Host images of endpoint instances."""


@cache
def facts() -> AwsFacts:
    """Read aws_facts.json."""
    return AwsFacts(**json.loads(FILE.read_text(encoding="utf-8")))


def collect() -> AwsFacts:
    """Return the facts as the installed botocore has them."""
    from botocore.session import get_session  # deferred: only who writes the file needs it

    session = get_session()
    model = session.get_service_model("sagemaker")

    def enum(shape: str) -> list[str]:
        return sorted(model.shape_for(shape).metadata["enum"])

    return AwsFacts(
        "botocore's endpoints.json and sagemaker/2017-07-24/service-2.json; written by `python -m config`",
        {
            region: partition
            for partition in session.get_available_partitions()
            for region in sorted(session.get_available_regions("sagemaker", partition))
        },
        enum("ProductionVariantInstanceType"),
        enum("ProcessingInstanceType"),
        enum("ProductionVariantInferenceAmiVersion"),
    )


def as_text(found: AwsFacts) -> str:
    """Return what aws_facts.json holds."""
    return json.dumps(asdict(found), indent=1) + "\n"
