"""Data capture: a share of an endpoint's requests and answers as JSON lines in S3.

"Data capture" in the developer guide has the layout of the files, ``DESTINATION/ENDPOINT/VARIANT/yyyy/mm/dd/hh/NAME.jsonl``, and of
the lines; DataCaptureConfig's API reference says that bytes are base64 unless CaptureContentTypeHeader knows their content type. Files
are written every few seconds here.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.timestamps import iso

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.hosting.instances.instance import Instance

_Key = tuple[str, str, str, str | None]
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class CapturedInvocation:
    """A request that was drawn; its answer is added as it comes."""

    key: _Key
    """Region, where in S3, the KMS key or an empty string, the role that writes."""
    config: dict[str, Any]
    content_type: str
    body: bytes
    began: float = field(default_factory=time.time)
    answer: list[bytes] = field(default_factory=list)

    def line(self, answer_type: str) -> str:
        """Return the line of the file, once the answer is whole."""
        sides = {
            "Input": ("endpointInput", "INPUT", self.content_type, self.body),
            "Output": ("endpointOutput", "OUTPUT", answer_type, b"".join(self.answer)),
        }
        wanted = [option["CaptureMode"] for option in self.config["CaptureOptions"]]
        data = {
            member: {"observedContentType": kind, "mode": mode, **self._encoded(kind, content)}
            for side, (member, mode, kind, content) in sides.items()
            if side in wanted or "InputAndOutput" in wanted
        }
        metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": iso(self.began)}
        return json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"})

    def _encoded(self, content_type: str, content: bytes) -> dict[str, str]:
        known = self.config.get("CaptureContentTypeHeader") or {}
        for member, encoding in (("CsvContentTypes", "CSV"), ("JsonContentTypes", "JSON")):
            if content_type in (known.get(member) or []):
                return {"data": content.decode(errors="replace"), "encoding": encoding}
        return {"data": base64.b64encode(content).decode(), "encoding": "BASE64"}


@dataclass
class DataCapture:
    """Everything captured that is not in S3 yet. Requests are drawn on the event loop, files written from another thread."""

    context: Context
    _lines: defaultdict[_Key, list[str]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.context.closers.append(self.flush)

    def draw(self, instance: Instance, config: dict[str, Any], content_type: str, body: bytes) -> CapturedInvocation | None:
        """Return a request that is to be captured; None for one that the sampling leaves out, or where nothing is captured.

        Args:
            instance: which answers it.
            config: the endpoint's DataCaptureConfig.
            content_type: of the request.
            body: the request's.
        """
        chance = config["InitialSamplingPercentage"] if config.get("EnableCapture") else 0
        if random.random() * 100 >= chance:  # noqa: S311 -- sampling, not secrets
            return None
        place = f"{config['DestinationS3Uri'].rstrip('/')}/{instance.endpoint}/{instance.name}"
        return CapturedInvocation(
            (instance.region, place, config.get("KmsKeyId", ""), instance.plan.role_arn), config, content_type, body
        )

    def keep(self, captured: CapturedInvocation | None, answer_type: str) -> None:
        """Keep a captured request, whose answer is whole now."""
        if captured is not None:
            with self._lock:
                self._lines[captured.key].append(captured.line(answer_type))

    def flush(self) -> None:
        """Write what was captured, one file for each variant."""
        with self._lock:
            waiting, self._lines = self._lines, defaultdict(list)
        for (region, place, kms_key, role_arn), lines in waiting.items():
            bucket, _, prefix = place.removeprefix("s3://").partition("/")
            hour, moment = time.strftime("%Y/%m/%d/%H", time.gmtime()), time.strftime("%M-%S", time.gmtime())
            key = f"{prefix}/{hour}/{moment}-{int(time.time() * 1000) % 1000:03d}-{uuid.uuid4()}.jsonl"
            encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
            try:
                s3 = self.context.client("s3", region, role_arn)
                s3.put_object(Bucket=bucket, Key=key, Body="".join(f"{line}\n" for line in lines).encode(), **encryption)
            except Exception:
                _LOGGER.exception("captured data is lost: s3://%s/%s", bucket, key)


def summary(config: dict[str, Any] | None) -> dict[str, Any] | None:
    """DescribeEndpoint's DataCaptureConfigSummary."""
    if not config:
        return None
    enabled = bool(config.get("EnableCapture"))
    shown = {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId"),
    }
    return {name: value for name, value in shown.items() if value is not None}
