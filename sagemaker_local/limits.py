"""The service's limits, which the images file may lower: nobody's test waits 60 seconds for a timeout.

limits: {model_timeout_s: 1, invocations_per_s: 5}
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sagemaker_local.errors import AwsError, ImagesFileError


@dataclass(frozen=True)
class Limits:
    """Each is SageMaker's own by default; a request's own timeout counts where it is lower."""

    model_timeout_s: float = 60.0
    """How long a container has to answer, or to begin its stream (API reference of InvokeEndpoint)."""
    stream_timeout_s: float = 480.0
    """How long a stream may take (developer guide, "Model Hosting FAQs": 8 minutes for streaming responses)."""
    startup_timeout_s: float = 3600.0
    """How long a container has until ``/ping`` answers: the most that ContainerStartupHealthCheckTimeoutInSeconds may be (API reference);
    where that is not given it is 8 minutes ("How Containers Respond to Health Check (Ping) Requests")."""
    provision_timeout_s: float = 3600.0
    """How long an instance waits for capacity where VariantInstanceProvisionTimeoutInSeconds is given: at most that (API reference)."""
    download_timeout_s: float = 3600.0
    """How long model data may take; also the most that ModelDataDownloadTimeoutInSeconds may be (API reference)."""
    payload_bytes: int = 25 << 20
    """A request's body on the data plane (developer guide, "Model Hosting FAQs": 25 MB for real-time endpoints; the service's model says 6)."""
    invocations_per_s: float = float("inf")
    """Requests to one endpoint in a second; AWS does not publish when it throttles."""
    calls_per_s: float = float("inf")
    """Calls of SageMaker's actions in a second; likewise."""

    @classmethod
    def of(cls, given: Any, where: str) -> Limits:
        """Limits from the images file.

        Raises:
            ImagesFileError: a name or a value that cannot be.
        """
        names = [entry.name for entry in fields(cls)]
        if not isinstance(given, Mapping):
            raise ImagesFileError(f"{where}: limits must be a mapping, not {given!r}.")
        for name, value in given.items():
            if name not in names:
                raise ImagesFileError(f"{where}: limits has the unknown key {name!r}; known are {', '.join(names)}.")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ImagesFileError(f"{where}: limits.{name} must be a number that is not negative, not {value!r}.")
        return cls(**given)


STARTUP_TIMEOUT_S = 480.0
"""What a container has to become healthy where no request says otherwise."""


@dataclass
class Throttle:
    """A token bucket: lets so many calls through in a second, a second's worth at once."""

    per_s: float
    _allowance: float = field(init=False)
    _at: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._allowance = self.per_s

    def take(self) -> None:
        """Let one call through.

        Raises:
            AwsError: ``ThrottlingException`` (400), as AWS's JSON services throttle and as its SDKs retry.
        """
        if self.per_s == float("inf"):
            return
        with self._lock:
            now = time.monotonic()
            self._allowance = min(self.per_s, self._allowance + (now - self._at) * self.per_s)
            self._at = now
            if self._allowance < 1:
                raise AwsError("ThrottlingException", "Rate exceeded")
            self._allowance -= 1
