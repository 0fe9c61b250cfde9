"""Drift of the weights: whether the objects in S3 are those of the manifest that was evaluated, by size and by S3's own checksum.

S3 keeps a CRC64NVME of each whole object that was uploaded with one ("Checking object integrity" in the S3 user guide) and HeadObject
shows it, so nothing is read. Only where S3 keeps none is the object read and its checksum computed here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from awscrt import checksums

from delivery.aws import s3
from delivery.names import MANIFEST_FILE
from delivery.weights import manifest
from delivery.weights.manifest import ManifestFile

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_READERS = 16
_BLOCK_BYTES = 8 * 1024**2
_SHOWN = 5


def differences(client: S3Client, prefix: s3.S3Uri, manifest_sha256: str) -> list[str]:
    """Compare the objects under a prefix with the manifest that was evaluated.

    Args:
        client: The client of the bucket's region.
        prefix: The weights prefix.
        manifest_sha256: The manifest's digest, as registered.

    Returns:
        One sentence a difference, five at most; none when all is as it was.

    Raises:
        DeliveryError: S3 could not be asked.
    """
    location = prefix / MANIFEST_FILE
    body = s3.read(client, location)
    if body is None:
        return [f"there is no {location}; release the model file again"]
    actual = manifest.digest(body)
    if actual != manifest_sha256:
        return [f"{location} is not the one that was evaluated (sha256 {actual}, registered {manifest_sha256}); release again"]
    wanted = {file.path: file for file in manifest.Manifest.model_validate_json(body).files}
    listed = s3.list_objects(client, prefix)
    unknown = sorted(path for path in listed if path not in wanted and path != MANIFEST_FILE)
    found = [f"{prefix / path} was not evaluated: the manifest does not list it; delete it" for path in unknown]
    with ThreadPoolExecutor(_READERS) as readers:
        checked = readers.map(lambda file: _difference(client, prefix, file, listed.get(file.path)), wanted.values())
    found += [difference for difference in checked if difference]
    more = len(found) - _SHOWN
    return found if more <= 0 else [*found[:_SHOWN], f"and {more} more"]


def _difference(client: S3Client, prefix: s3.S3Uri, file: ManifestFile, stored: s3.ListedObject | None) -> str | None:
    location = prefix / file.path
    if stored is None:
        return f"{location} is gone; fetch again"
    if stored.size != file.size:
        return f"{location} has {stored.size} bytes, {file.size} were evaluated; fetch again"
    actual = _crc64nvme(client, location)
    if actual != file.crc64nvme:
        return f"{location} is not what was evaluated (CRC64NVME {actual}, evaluated {file.crc64nvme}); fetch again"
    return None


def _crc64nvme(client: S3Client, location: s3.S3Uri) -> str:
    """Return the checksum of the whole object, base64: S3's, or computed where S3 has none."""
    with s3.translate_client_errors(f"check {location}"):
        head = client.head_object(Bucket=location.bucket, Key=location.key, ChecksumMode="ENABLED")
        if head.get("ChecksumCRC64NVME") and head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
            return str(head["ChecksumCRC64NVME"])
        value = 0
        for block in _blocks(client, location, head["ETag"]):
            value = checksums.crc64nvme(block, value)
    return base64.b64encode(value.to_bytes(8, "big")).decode()


def _blocks(client: S3Client, location: s3.S3Uri, etag: str) -> Iterator[bytes]:
    body: Any = client.get_object(Bucket=location.bucket, Key=location.key, IfMatch=etag)["Body"]
    yield from body.iter_chunks(_BLOCK_BYTES)
