"""The fake account: its services, and the way in for code that makes its clients with boto3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

from botocore.exceptions import ClientError

from tests.support.fake_aws.accounts import FakeEvents, FakeSecrets, FakeSts
from tests.support.fake_aws.hosting import FakeRuntime, FakeSageMaker
from tests.support.fake_aws.images import FakeEcr
from tests.support.fake_aws.monitoring import FakeCloudWatch, FakeLogs, FakeScaling
from tests.support.fake_aws.s3 import FakeS3
from tests.support.fake_aws.shapes import FakeService

Call = dict[str, Any]
Layer = Callable[[Call, Callable[[], Any]], Any]
"""Takes a call and what answers it; returns the answer, or raises what boto3 would."""


@dataclass
class FakeAws:
    """One account in one region."""

    calls: list[Call] = field(default_factory=list)
    """What was called in which role, in the form in which sagemaker_local writes it down."""
    layer: Layer | None = None
    """What every call goes through, once it is on record: the faults of `tests.faults`."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    """The services' clock: the date of every answer."""

    def __post_init__(self) -> None:
        s3, cloudwatch, scaling, logs = FakeS3(), FakeCloudWatch(), FakeScaling(), FakeLogs()
        self.sagemaker = sagemaker = FakeSageMaker(s3, cloudwatch, scaling, logs)
        services: list[FakeService] = [
            s3,
            cloudwatch,
            scaling,
            logs,
            sagemaker,
            FakeRuntime(sagemaker),
            FakeEcr(),
            FakeSts(),
            FakeEvents(),
            FakeSecrets(),
        ]
        self._services = {service.SERVICE: service for service in services}
        self._clients: dict[tuple[str, str | None], Any] = {}

    def client(self, service: str, role_arn: str | None = None) -> Any:
        """A client of a service, in a role or as the account's owner."""

        def through(service: str, action: str, parameters: dict[str, Any], answer: Callable[[], Any]) -> Any:
            call = {"service": service, "action": action, "parameters": parameters, "role_arn": role_arn}
            self.calls.append(call)
            dated = partial(self._dated, answer)
            return dated() if self.layer is None else self.layer(call, dated)

        if (service, role_arn) not in self._clients:
            self._clients[service, role_arn] = self._services[service].client(through)
        return self._clients[service, role_arn]

    def _dated(self, answer: Callable[[], Any]) -> Any:
        """Answer a call as HTTP does: with the date, on errors, too."""
        head = {"HTTPHeaders": {"date": _http_date(self.now())}}
        try:
            return {**answer(), "ResponseMetadata": head}
        except ClientError as error:
            error.response.setdefault("ResponseMetadata", {}).update(head)  # type: ignore[typeddict-item]
            raise

    @contextmanager
    def acting_as(self, role_arn: str) -> Iterator[None]:
        """boto3 makes clients of this account, in that role, and nobody waits for anything."""

        def client(service: str, *_: Any, **__: Any) -> Any:
            return self.client(service, role_arn)

        with (
            mock.patch("boto3.client", client),
            mock.patch("boto3.Session", lambda *_, **__: SimpleNamespace(client=client)),
            mock.patch("delivery.endpoint.hosting._QUICK_POLL_S", 0),
        ):
            yield


@lru_cache(maxsize=8)
def _http_date(at: datetime) -> str:
    return format_datetime(at, usegmt=True)
