"""The files that a profile names: paths on this machine, and objects in S3."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from loadtest.errors import InvalidInput

_ABSENT = {"404", "NoSuchKey", "NoSuchBucket"}


def read_address(address: str) -> bytes | None:
    """Read the content at a path (relative to the working directory) or at an `s3://BUCKET/KEY` address.

    Args:
        address: where it is.

    Returns:
        The bytes; None where nothing is there.

    Raises:
        InvalidInput: it is there, and cannot be read.
    """
    try:
        if address.startswith("s3://"):
            bucket, _, key = address.removeprefix("s3://").partition("/")
            body: bytes = _s3().get_object(Bucket=bucket, Key=key)["Body"].read()
            return body
        return Path(address).read_bytes()
    except FileNotFoundError:
        return None
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _ABSENT:
            return None
        raise InvalidInput(f"{address} cannot be read: {error}; check the bucket's policy and your credentials") from error
    except (BotoCoreError, OSError) as error:
        raise InvalidInput(f"{address} cannot be read: {error}; give a readable file or an s3://BUCKET/KEY address") from error


@cache
def _s3() -> Any:
    return botocore.session.get_session().create_client("s3")
