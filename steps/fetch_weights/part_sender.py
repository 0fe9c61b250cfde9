"""Parts into S3 without a copy of their bytes.

boto3 signs the request (a presigned address), our own wire sends it from the buffer: botocore with awscrt copies every body that it
signs, and a fetch has eight of them in flight.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

from delivery.errors import DeliveryError, TransientError
from delivery.hub.fetch_settings import FetchSettings
from delivery.hub.range_client import RangeResponse, ThreadRangeClient
from delivery.hub.retries import Retries

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_SIGNATURE_S = 3600
_CODE = re.compile(r"<Code>([^<]+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]+)</Message>")
_TRANSIENT_CODES = frozenset(
    {
        "BadDigest",
        "ExpiredToken",
        "InternalError",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "XAmzContentChecksumMismatch",
    }
)


class PartSender:
    """Sends parts of multipart uploads. Safe to share between threads; connections are kept one set a thread.

    `bucket_owner` is the account that `client` was made to expect (see `s3.client`).
    """

    def __init__(self, client: S3Client, settings: FetchSettings, stop: threading.Event, bucket_owner: str | None = None) -> None:
        self._client = client
        self._owner = {"x-amz-expected-bucket-owner": bucket_owner} if bucket_owner else {}
        self._retries = Retries(settings, stop)
        self._clients = ThreadRangeClient(settings.connect_timeout_s, settings.read_timeout_s)

    def send(self, what: str, request: dict[str, Any], view: memoryview, crc64nvme: str) -> str:
        """Send one part (`request`: UploadPart's parameters without body and checksum) and return its entity tag.

        S3 refuses a part whose checksum is not that of what it received: that is tried again. DeliveryError, naming `what`, when it stays.
        """
        headers = {"x-amz-checksum-crc64nvme": crc64nvme, **self._owner}

        def attempt() -> str:
            url = self._client.generate_presigned_url(
                "upload_part", Params={**request, "ChecksumCRC64NVME": crc64nvme}, ExpiresIn=_SIGNATURE_S
            )
            answer = self._clients.current.send(url, headers, view)
            if answer.status == 200:
                return _entity_tag(answer, crc64nvme)
            raise _failure(what, answer, url)

        return self._retries.call(what, attempt)


def _entity_tag(answer: RangeResponse, crc64nvme: str) -> str:
    received = answer.headers.get("x-amz-checksum-crc64nvme", crc64nvme)
    if received != crc64nvme:
        raise TransientError(f"S3 received bytes with CRC64NVME {received}, sent were bytes with {crc64nvme}")
    return answer.headers["etag"]


def _failure(what: str, answer: RangeResponse, url: str) -> Exception:
    code = _CODE.search(answer.excerpt)
    message = _MESSAGE.search(answer.excerpt)
    text = f"{code[1]}: {message[1] if message else ''}" if code else f"{answer.status} {answer.excerpt}"
    if code and code[1] in _TRANSIENT_CODES:
        return TransientError(f"S3 answered {text}", answer.retry_after_s)
    return answer.transient_error(url) or DeliveryError(f"could not {what}: S3 answered {text}")
