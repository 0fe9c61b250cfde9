"""What a job leaves: files of its sandbox uploaded to S3, when it has ended or while it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import OutputError
from sagemaker_local.jobs.fetch import split_uri

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CONTINUOUS_INTERVAL_S = 0.5
_IN_ONE_PUT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class S3Output:
    """Files that go to S3: one folder an instance, all to one address."""

    uri: str
    folders: Sequence[Path]
    continuous: bool = False
    """Sent while the job runs, and not only when it has ended."""


@dataclass
class Uploader:
    """Uploads a job's outputs. Files that have not changed since they were last sent are not sent again."""

    s3: Any
    outputs: Sequence[S3Output]
    _sent: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def create_folders(self) -> None:
        """Make every output's folders, as SageMaker does before the container starts."""
        for output in self.outputs:
            for folder in output.folders:
                folder.mkdir(parents=True, exist_ok=True)

    def start_continuous(self) -> None:
        """Send from now on what appears or changes in the outputs that are continuous."""
        if any(output.continuous for output in self.outputs):
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
        self._send(self.outputs)

    def _send_continuously(self) -> None:
        continuous = [output for output in self.outputs if output.continuous]
        while not self._stop.wait(_CONTINUOUS_INTERVAL_S):
            try:
                self._send(continuous)
            except (OutputError, OSError):
                continue  # a file still being written, or a bucket not there yet: finish() sends it or says why not

    def _send(self, outputs: Sequence[S3Output]) -> None:
        for output in outputs:
            bucket, prefix = split_uri(output.uri)
            for folder in output.folders:
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
