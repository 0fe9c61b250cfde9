"""Objects into S3: multipart uploads that are completed only on the word of whoever checked the bytes, or aborted."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from delivery.aws import s3
from delivery.aws.clock import ServiceClock
from delivery.errors import DeliveryError
from delivery.hub.selection import HubFile
from steps.fetch_weights.part_sender import PartSender

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)


class StoredObject:
    """What S3 says of a completed object."""

    def __init__(self, etag: str, size: int | None, crc64nvme: str | None) -> None:
        self.etag = etag
        self.size = size
        self.crc64nvme = crc64nvme
        """The full-object checksum, None when this S3 keeps none."""


class Destination:
    """A prefix that files are written under. Safe to share between threads.

    `options` are the PutObject and CreateMultipartUpload parameters that every object gets (encryption, storage class).
    """

    def __init__(
        self,
        client: S3Client,
        prefix: s3.S3Uri,
        sender: PartSender,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = client
        self._sender = sender
        self.prefix = prefix
        self._options: dict[str, Any] = dict(options or {})
        self._open: dict[str, str] = {}
        self._lock = threading.Lock()

    def put(self, file: HubFile, body: bytes, crc64nvme: str) -> StoredObject:
        """Write a whole object; S3 refuses it when the checksum is not that of what it received."""
        with s3.translate_client_errors(f"write {self.prefix / file.path}"):
            self._client.put_object(
                **self._at(file), Body=body, ChecksumCRC64NVME=crc64nvme, Metadata=self._metadata(file), **self._options
            )
        return self._check(file, crc64nvme)

    def start(self, file: HubFile) -> str:
        """Open a multipart upload and return its id. It is open until `complete` or `abort`."""
        with s3.translate_client_errors(f"start the upload of {self.prefix / file.path}"):
            answer = self._client.create_multipart_upload(
                **self._at(file),
                ChecksumAlgorithm="CRC64NVME",
                ChecksumType="FULL_OBJECT",
                Metadata=self._metadata(file),
                **self._options,
            )
        upload_id = str(answer["UploadId"])
        with self._lock:
            self._open[upload_id] = file.path
        return upload_id

    def upload(self, file: HubFile, upload_id: str, number: int, view: memoryview, crc64nvme: str) -> str:
        """Send one part and return its entity tag; S3 refuses it when the checksum is not that of what it received."""
        request = {**self._at(file), "UploadId": upload_id, "PartNumber": number}
        return self._sender.send(f"write part {number} of {self.prefix / file.path}", request, view, crc64nvme)

    def complete(self, file: HubFile, upload_id: str, etags: Mapping[int, str], crc64nvme: str) -> StoredObject:
        """Make the object of its parts. S3 refuses it when the whole does not have that checksum and size."""
        with s3.translate_client_errors(f"complete {self.prefix / file.path}"):
            try:
                self._client.complete_multipart_upload(
                    **self._at(file),
                    UploadId=upload_id,
                    MultipartUpload={"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in sorted(etags.items())]},
                    ChecksumCRC64NVME=crc64nvme,
                    ChecksumType="FULL_OBJECT",
                    MpuObjectSize=file.size,
                )
            except ClientError as error:
                # boto3 sends a request again whose answer got lost, and an upload that was completed is no upload any more.
                if s3.error_code(error) != "NoSuchUpload" or not self._has(file, crc64nvme):
                    raise
        with self._lock:
            self._open.pop(upload_id, None)
        return self._check(file, crc64nvme)

    def abort_open(self) -> None:
        """Abort every upload that was started here and not completed. Never raises: this is cleaning up after something else."""
        with self._lock:
            uploads = dict(self._open)
            self._open.clear()
        for upload_id, path in uploads.items():
            self._abort(self._key(path), upload_id)

    def abort_abandoned(self, older_than_s: float, paths: Iterable[str] | None = None) -> int:
        """Abort uploads that hosts which died left behind: as old as S3's clock says.

        Args:
            older_than_s: Only those that are older. Seconds.
            paths: Of these files; None: of everything under the prefix.

        Returns:
            How many.
        """
        keys = None if paths is None else {self._key(path) for path in paths}
        count, clock = 0, ServiceClock()
        with s3.translate_client_errors(f"list the unfinished uploads under {self.prefix}"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.prefix.bucket, Prefix=self.prefix.key
            )
            asked_at = time.monotonic()
            for page in pages:
                clock.note(page, asked_at)
                for upload in page.get("Uploads", []):
                    age_s = max(0.0, (clock.now() - upload["Initiated"]).total_seconds())  # S3 tells whole seconds
                    ours = keys is None or upload["Key"] in keys
                    if ours and upload["UploadId"] not in self._open and age_s >= older_than_s:
                        self._abort(upload["Key"], upload["UploadId"])
                        count += 1
                asked_at = time.monotonic()
        return count

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects under the prefix."""
        for path in paths:
            with s3.translate_client_errors(f"delete {self.prefix / path}"):
                self._client.delete_object(Bucket=self.prefix.bucket, Key=self._key(path))

    def _has(self, file: HubFile, crc64nvme: str) -> bool:
        """Tell whether an object with the file's size and checksum is there."""
        try:
            head = self._client.head_object(**self._at(file), ChecksumMode="ENABLED")
        except ClientError as error:
            if s3.error_code(error) == "404":
                return False
            raise
        return (head["ContentLength"], head.get("ChecksumCRC64NVME")) == (file.size, crc64nvme)

    def _check(self, file: HubFile, crc64nvme: str) -> StoredObject:
        """Ask S3 what it has now; anything but the file's size and checksum is deleted and an error."""
        with s3.translate_client_errors(f"check {self.prefix / file.path}"):
            head = self._client.head_object(**self._at(file), ChecksumMode="ENABLED")
        full = head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        stored = StoredObject(head["ETag"], head["ContentLength"], head.get("ChecksumCRC64NVME") if full else None)
        if stored.size != file.size or stored.crc64nvme not in {None, crc64nvme}:
            self.delete([file.path])
            raise DeliveryError(
                f"S3 stored {self.prefix / file.path} with {stored.size:,} bytes and CRC64NVME {stored.crc64nvme}, sent were {file.size:,} bytes "
                f"with {crc64nvme}; the object was deleted: start the step again, and report it to whoever runs this S3"
            )
        return stored

    def _abort(self, key: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self.prefix.bucket, Key=key, UploadId=upload_id)
        except (ClientError, BotoCoreError) as error:
            if s3.error_code(error) != "NoSuchUpload":
                logger.warning(
                    f"could not abort the upload of s3://{self.prefix.bucket}/{key}: {error}; the bucket's lifecycle rule will"
                )

    def _at(self, file: HubFile) -> dict[str, Any]:
        return {"Bucket": self.prefix.bucket, "Key": self._key(file.path)}

    def _key(self, path: str) -> str:
        return (self.prefix / path).key

    @staticmethod
    def _metadata(file: HubFile) -> dict[str, str]:
        return {"sha256": file.sha256} if file.sha256 else {"git-blob-sha1": file.blob_sha1}


def checksum_text(crc64nvme: int) -> str:
    """Write a CRC64NVME as S3 does: base64 of its eight bytes, most significant first."""
    return base64.b64encode(crc64nvme.to_bytes(8, "big")).decode()
