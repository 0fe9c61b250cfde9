"""The names of calls: service, action and, where the same action does several things, to what."""

from __future__ import annotations

import re
from typing import Any

_KEYS = (
    (r"leases/", "lease"),
    (r"releases/[^/]+/\d{8}\.json", "event"),
    (r"releases/[^/]+/\d*$", "events"),
    (r"releases/", "release-file"),
    (r"weights/.*manifest\.json", "manifest"),
    (r"weights/", "weights"),
    (r"evaluations/", "report"),
)


def name_of(service: str, action: str, parameters: dict[str, Any]) -> str:
    """Name a call.

    Args:
        service: The name that its requests are signed for.
        action: The API's.
        parameters: The request's.

    Returns:
        One word.

    Example:
        >>> name_of("s3", "PutObject", {"Bucket": "b", "Key": "leases/chat.json"})
        's3:PutObject:lease'
        >>> name_of("sagemaker", "UpdateModelPackage", {"ModelApprovalStatus": "Approved"})
        'sagemaker:UpdateModelPackage:Approved'
    """
    return ":".join(part for part in (service, action, _object(parameters)) if part)


def _object(parameters: dict[str, Any]) -> str:
    key = parameters.get("Key") or parameters.get("Prefix")
    if key:
        return next((name for pattern, name in _KEYS if re.match(pattern, key)), "object")
    if "CustomerMetadataProperties" in parameters:
        return "facts"
    return str(parameters.get("ModelApprovalStatus", ""))
