"""What a job leaves: files of its sandbox uploaded to S3, when it has ended or while it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import NotImplementedHere
from sagemaker_local.processing.inputs import split_uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sagemaker_local.processing.layout import InstanceLayout

_CONTINUOUS_INTERVAL_S = 0.5
_IN_ONE_PUT_BYTES = 8 * 1024 * 1024


class OutputError(Exception):
    """An output that could not be uploaded: the message becomes the job's FailureReason."""


def refuse_unsupported(outputs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse, by name, what processing outputs can ask for on AWS and not here.

    Raises:
        NotImplementedHere: a FeatureStoreOutput.
    """
    for item in outputs:
        if "FeatureStoreOutput" in item:
            raise NotImplementedHere(f"ProcessingOutput {item['OutputName']!r}: FeatureStoreOutput is not emulated.")


@dataclass
class Uploader:
    """Uploads a job's outputs. Files that have not changed since they were last sent are not sent again."""

    s3: Any
    outputs: Sequence[Mapping[str, Any]]
    layouts: Sequence[InstanceLayout]
    _sent: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def create_folders(self) -> None:
        """Make every output's LocalPath, as SageMaker does before the container starts."""
        for _, folder in self._folders(None):
            folder.mkdir(parents=True, exist_ok=True)

    def start_continuous(self) -> None:
        """From now on send what appears or changes in the outputs whose S3UploadMode is Continuous."""
        if any(item["S3Output"]["S3UploadMode"] == "Continuous" for item in self._s3_outputs()):
            self._thread = threading.Thread(target=self._send_continuously, name="continuous-upload", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Send all that has not been sent, however the container ended.

        That a failed job's outputs are uploaded too is what the SDK's own local mode does (its image.py uploads in a
        ``finally``); the service's documentation only says "after the job completes".

        Raises:
            OutputError: S3 refuses an object.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._send(None)

    def _s3_outputs(self) -> list[Mapping[str, Any]]:
        return [item for item in self.outputs if item.get("S3Output") and not item.get("AppManaged")]

    def _folders(self, mode: str | None) -> list[tuple[str, Path]]:
        """Every (S3 address, local folder) of the outputs with this upload mode, for every instance."""
        return [
            (item["S3Output"]["S3Uri"], layout.local(item["S3Output"]["LocalPath"]))
            for item in self._s3_outputs()
            if mode in (None, item["S3Output"]["S3UploadMode"])
            for layout in self.layouts
        ]

    def _send_continuously(self) -> None:
        while not self._stop.wait(_CONTINUOUS_INTERVAL_S):
            try:
                self._send("Continuous")
            except (OutputError, OSError):
                continue  # a file still being written, or a bucket not there yet: finish() sends it or says why not

    def _send(self, mode: str | None) -> None:
        for uri, folder in self._folders(mode):
            bucket, prefix = split_uri(uri)
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    relative = path.relative_to(folder).as_posix()
                    self._send_file(path, bucket, f"{prefix.rstrip('/')}/{relative}".lstrip("/"))

    def _send_file(self, path: Path, bucket: str, key: str) -> None:
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size)
        if self._sent.get(path) == version:
            return
        try:
            if status.st_size > _IN_ONE_PUT_BYTES:
                self.s3.upload_file(str(path), bucket, key)
            else:
                self.s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
        except Exception as error:
            if not hasattr(error, "response") and type(error).__name__ != "S3UploadFailedError":
                raise
            raise OutputError(f"ClientError: Failed to upload output to s3://{bucket}/{key}: {error}") from error
        self._sent[path] = version
