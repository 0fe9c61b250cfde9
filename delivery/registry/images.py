"""Which image a tag means now: its digest, noted when a version is evaluated and compared before it is promoted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from delivery.aws.client_errors import translate_client_errors
from delivery.errors import DeliveryError
from delivery.names import Fact
from delivery.registry.model_packages import ModelPackage

if TYPE_CHECKING:
    from types_boto3_ecr.client import ECRClient

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LATEST = "latest"


def fact(package: ModelPackage, make_client: Callable[[str], ECRClient], kind: Literal["local", "aws"]) -> dict[str, str]:
    """Return what is to be noted on a version when it is evaluated: the digest of its image.

    Args:
        package: The version.
        make_client: Gives an ECR client of a region.
        kind: The environment's.

    Returns:
        The fact; empty for an image that has no digest.

    Raises:
        DeliveryError: There is no such image, or ECR refused.
    """
    digest = digest_of(str(package.container.get("Image", "")), make_client, kind)
    return {str(Fact.IMAGE_DIGEST): digest} if digest else {}


def digest_of(uri: str, make_client: Callable[[str], ECRClient], kind: Literal["local", "aws"]) -> str | None:
    """Look up the digest of the image that an ECR address means now. An address with a digest says it itself.

    Args:
        uri: The image's address.
        make_client: Gives an ECR client of a region.
        kind: The environment's. On this machine images are commands and need no registry: no repository is no error.

    Returns:
        `sha256:…`; None for an image that is not in ECR.

    Raises:
        DeliveryError: There is no such image, or ECR refused.

    Example:
        >>> digest_of("lmsysorg/sglang:v0.5.6", make_client=lambda region: None, kind="aws")  # not in ECR
    """
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
