"""What all fake services share: requests that botocore would send, errors as botocore raises them, a record of the calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

ACCOUNT, REGION = "123456789012", "us-east-1"
Layer = Callable[[str, str, dict[str, Any], Callable[[], Any]], Any]
"""Takes a service, an action, its parameters and what answers the call; returns the answer."""
_SIGNED_AS = {"sagemaker-runtime": "sagemaker"}
_PAGE = 2  # small, so that whoever reads one page alone is found out


def arn(service: str, resource: str) -> str:
    """The ARN of a resource of the fake account."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def client_error(action: str, code: str, message: str = "") -> ClientError:
    """An error as boto3 raises it."""
    return ClientError({"Error": {"Code": code, "Message": message or code}}, action)


def in_words(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@cache
def _model(service: str) -> tuple[ServiceModel, dict[str, str]]:
    """A service's shapes, and its actions by the names that boto3's methods have."""
    model = botocore.session.get_session().get_service_model(service)
    return model, {xform_name(name): name for name in model.operation_names}


class FakeService:
    """A service: each method is an action, `_ACTION` its work."""

    SERVICE = ""
    exceptions = SimpleNamespace(ClientError=ClientError)

    def client(self, layer: Layer) -> Any:
        """A client whose calls go through that layer."""
        return _Client(self, layer)


class _Client:
    """A boto3 client of a fake service."""

    exceptions = FakeService.exceptions

    def __init__(self, service: FakeService, layer: Layer) -> None:
        self._service, self._layer = service, layer
        self.meta = SimpleNamespace(endpoint_url="http://fake", events=SimpleNamespace(register=lambda *_: None))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        model, actions = _model(self._service.SERVICE)
        action = actions[name]

        def call(**request: Any) -> Any:
            report = ParamValidator().validate(request, model.operation_model(action).input_shape)  # type: ignore[arg-type]
            assert not report.has_errors(), f"{action}: {report.generate_report()}"
            service = _SIGNED_AS.get(self._service.SERVICE, self._service.SERVICE)
            return self._layer(service, action, request, lambda: getattr(self._service, f"_{name}")(**request))

        return call

    def get_paginator(self, name: str) -> Any:
        """Pages of a listing, each smaller than AWS's."""
        return SimpleNamespace(paginate=lambda **request: _pages(getattr(self, name)(**request)))


def _pages(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    [(member, items)] = ((name, found) for name, found in answer.items() if name != "ResponseMetadata")
    head = {"ResponseMetadata": answer["ResponseMetadata"]} if "ResponseMetadata" in answer else {}
    yield from ({member: items[at : at + _PAGE], **head} for at in range(0, max(len(items), 1), _PAGE))
