"""The checkpoint of a ledger: its events up to one of them in a single object, so that a long ledger is read with few requests.

`s3://BUCKET/releases/MODEL/checkpoint.json.gz` is written now and then behind an event, over the one before, by whoever wrote that event. It
is a copy and proves nothing: who reads it verifies the chain in it and compares its last event with that event's own object
(`delivery.history.ledger`). One that is missing, behind, or anything else costs requests, and no more.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from config.base import Strict
from delivery.aws import s3
from delivery.errors import DeliveryError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)

_NAME = "checkpoint.json.gz"


class _Checkpoint(Strict):
    """The object, unzipped."""

    schema_version: Literal[1] = 1
    """The format of this file."""
    events: list[str]
    """Each event's object as it is, from the first on."""


def read(client: S3Client, prefix: s3.S3Uri) -> list[bytes]:
    """Read the copies of a ledger's events.

    Args:
        client: The client of the bucket's region.
        prefix: Where the ledger is.

    Returns:
        Each event's bytes, from the first on, unverified; none where there is no checkpoint that can be read.

    Raises:
        DeliveryError: S3 refused, or could not be reached.
    """
    packed = s3.read(client, prefix / _NAME)
    if packed is None:
        return []
    try:
        found = _Checkpoint.model_validate_json(gzip.decompress(packed))
    except (OSError, EOFError, zlib.error, ValidationError) as error:
        logger.warning(f"{prefix / _NAME} is no checkpoint and is not used; the next ones write it anew: {error}")
        return []
    return [event.encode() for event in found.events]


def write(client: S3Client, prefix: s3.S3Uri, events: Sequence[bytes], **options: Any) -> bool:
    """Write the copies of a ledger's events. Where that fails, the ledger is none the worse: a warning says so.

    Args:
        client: The client of the bucket's region.
        prefix: Where the ledger is.
        events: Each event's bytes, from the first on, verified.
        options: Further parameters of PutObject.

    Returns:
        Whether it was written.
    """
    body = _Checkpoint(events=[event.decode() for event in events]).model_dump_json().encode()
    try:
        s3.write_json(client, prefix / _NAME, gzip.compress(body, mtime=0), **options)
    except DeliveryError as error:
        logger.warning(f"the ledger has no new checkpoint, and costs more requests to read until it has: {error}")
        return False
    return True
