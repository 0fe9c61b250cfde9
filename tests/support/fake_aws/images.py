"""ECR: the images of a repository, by tag."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.support.fake_aws.shapes import FakeService, client_error


class FakeEcr(FakeService):
    """The repositories of the account."""

    SERVICE = "ecr"

    def __init__(self) -> None:
        self._repositories: dict[str, dict[str, str]] = {}
        """The digest of each tag."""

    def _create_repository(self, repositoryName: str) -> dict[str, Any]:
        self._repositories[repositoryName] = {}
        return {}

    def _delete_repository(self, repositoryName: str, force: bool = False) -> dict[str, Any]:
        del self._repositories[repositoryName]
        return {}

    def _put_image(self, repositoryName: str, imageManifest: str, imageTag: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(imageManifest.encode()).hexdigest()}"
        self._repositories[repositoryName][imageTag] = digest
        return {"image": {"imageId": {"imageDigest": digest, "imageTag": imageTag}}}

    def _describe_images(self, repositoryName: str, imageIds: list[dict[str, str]], **_: Any) -> dict[str, Any]:
        if repositoryName not in self._repositories:
            raise client_error("DescribeImages", "RepositoryNotFoundException")
        tags = self._repositories[repositoryName]
        wanted = [one["imageTag"] for one in imageIds]
        if any(tag not in tags for tag in wanted):
            raise client_error("DescribeImages", "ImageNotFoundException")
        return {"imageDetails": [{"imageDigest": tags[tag]} for tag in wanted]}
