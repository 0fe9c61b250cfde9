"""Which image a tag means now: its digest, noted when a version is evaluated and compared before it is promoted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

from delivery.aws.client_errors import translate_client_errors
from delivery.errors import DeliveryError
from delivery.names import Fact
from delivery.registry.model_packages import ModelPackage

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LATEST = "latest"


def fact(package: ModelPackage, kind: Literal["local", "aws"]) -> dict[str, str]:
    """What is to be noted on a version when it is evaluated: the digest of its image; nothing for one that has none. See `digest_of`."""
    import boto3

    digest = digest_of(str(package.container.get("Image", "")), lambda region: boto3.client("ecr", region_name=region), kind)
    return {str(Fact.IMAGE_DIGEST): digest} if digest else {}


def digest_of(uri: str, make_client: Callable[[str], Any], kind: Literal["local", "aws"]) -> str | None:
    """The digest (`sha256:…`) of the image that an ECR address means now; None for an image that is not in ECR.

    `make_client` gives a boto3 ECR client of a region. An address with a digest says it itself. On this machine (`kind` local) images are
    commands and need no registry: a repository that is not there means None too. DeliveryError when there is no such image, or ECR refuses.
    """
    from botocore.exceptions import ClientError

    parts = _ECR.fullmatch(uri)
    if parts is None:
        return None
    if parts["digest"]:
        return parts["digest"]
    tag = parts["tag"] or _LATEST
    with translate_client_errors(f"look up the image {uri}", "ecr:DescribeImages on its repository"):
        try:
            found = make_client(parts["region"]).describe_images(
                registryId=parts["account"], repositoryName=parts["repository"], imageIds=[{"imageTag": tag}]
            )["imageDetails"]
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if kind == "local" and code == "RepositoryNotFoundException":
                return None
            if code in {"ImageNotFoundException", "RepositoryNotFoundException"}:
                raise DeliveryError(f"there is no image {uri} in ECR any more ({code}); push it, or release again") from error
            raise
    return str(found[0]["imageDigest"])
