"""Tags of jobs and pipelines: kept by this package's own tags where it keeps a resource's, else by moto's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError
from sagemaker_local.tags import Tags

if TYPE_CHECKING:
    from sagemaker_local.actions import Call


def keep_tags(call: Call, arn: str, tags: list[dict[str, str]] | None, action: str, request: dict[str, Any]) -> None:
    """Keep a new resource's tags. ``action`` and ``request`` create it in moto, where its tags are moto's."""
    if not Tags.keeps(arn):
        call.moto(action, request)
    elif tags:
        call.context.part(Tags).add(arn, tags)


def forget_tags(call: Call, arn: str, action: str, request: dict[str, Any]) -> None:
    """Forget a resource's tags; in moto with the resource."""
    if Tags.keeps(arn):
        call.context.part(Tags).forget(arn)
        return
    try:
        call.moto(action, request)
    except AwsError:
        return  # moto forgets everything when the server ends


def tags_of(call: Call, arn: str) -> list[dict[str, str]]:
    """A resource's tags."""
    if Tags.keeps(arn):
        return call.context.part(Tags).get(arn)
    try:
        return list(call.moto("ListTags", {"ResourceArn": arn}).get("Tags") or [])
    except AwsError:
        return []
