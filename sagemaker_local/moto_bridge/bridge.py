"""The bridge to moto: its backends in this process, and its own actions called without HTTP."""

from __future__ import annotations

import io
import json
import logging
import os
from typing import TYPE_CHECKING, Any, cast

from sagemaker_local.errors import AwsError, NotImplementedHere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Flask
    from moto.backends import SERVICE_NAMES
    from moto.core.base_backend import BackendDict

DEFAULT_ACCOUNT_ID = "123456789012"
DEFAULT_REGION = "us-east-1"
_LOGGER = logging.getLogger(__name__)


def _configure() -> None:
    """Moto reads its settings from the environment; ours are set before its first import."""
    os.environ.setdefault("MOTO_ALLOW_NONEXISTENT_REGION", "false")
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "false")
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"  # else it tells every web page that it may call and read everything
    # moto's own clients (in its Lambda and Step Functions backends) need credentials to exist.
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")


def backends(service: str) -> BackendDict[Any]:
    """Return a service's backends by account and region, loaded where they are not yet."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.backends import get_backend

    # moto's overloads name each service; here the name comes with a request.
    return cast("Callable[[str], BackendDict[Any]]", get_backend)(service)


def loaded_backends() -> list[BackendDict[Any]]:
    """Return the backends of every service that has been used."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.core.base_backend import BackendDict

    return list(BackendDict._instances)  # type: ignore[misc]  # a class attribute of a generic class, as moto itself reads it


class Moto:
    """moto, in this process, as one account sees it."""

    def __init__(self, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        _configure()
        self.account_id = account_id
        self._application: Any = None
        self.on_change: Callable[[], None] = lambda: None
        """Called after every request that may have changed something."""

    def of_account(self, account_id: str) -> Moto:
        """Return the same, as another account sees it."""
        other = Moto(account_id)
        other._application = self.application
        return other

    @property
    def application(self) -> Any:
        """moto's WSGI application for all services."""
        if self._application is None:
            # deferred: moto costs 0.5 s, and reads its settings when it is imported
            from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

            def create(service: SERVICE_NAMES) -> Flask:
                """Return a service's application, without Flask's debugging, which makes a class (so, garbage) of every request."""
                made = create_backend_app(service)
                made.debug, made.config["PROPAGATE_EXCEPTIONS"] = False, True
                return made

            dispatcher = DomainDispatcherApplication(create)

            def application(environ: dict[str, Any], start_response: Any) -> Any:
                answer = dispatcher(environ, start_response)
                if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                    self.on_change()
                return answer

            self._application = application
        return self._application

    def backend(self, service: str, region: str = DEFAULT_REGION) -> Any:
        """Return a service's backend, such as ``backend("logs", "us-east-1")``; services without regions are under ``global``."""
        regions = backends(service)[self.account_id]
        return regions[region] if region in regions else regions["aws"]

    def regions(self, service: str) -> set[str]:
        """Return the regions in which a service has been used. Looks only: loading a service may cost a second and 100 MB."""
        used = [accounts for accounts in loaded_backends() if accounts.service_name == service]
        return {region for accounts in used if self.account_id in accounts for region in list(accounts[self.account_id])}

    def call(self, action: str, request: dict[str, Any], region: str = DEFAULT_REGION) -> dict[str, Any]:
        """Run a SageMaker action in moto.

        Raises:
            AwsError: moto's error.
            NotImplementedHere: moto does not have the action.
        """
        body = json.dumps(request).encode()
        scope = f"local/20200101/{region}/sagemaker/aws4_request"
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "SERVER_NAME": f"api.sagemaker.{region}.amazonaws.com",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/x-amz-json-1.1",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_HOST": f"api.sagemaker.{region}.amazonaws.com",
            "HTTP_X_AMZ_TARGET": f"SageMaker.{action}",
            "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            "HTTP_X_MOTO_ACCOUNT_ID": self.account_id,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        try:
            status, answer = _run(self.application, environ)
        except NotImplementedError as error:
            raise NotImplementedHere(f"{action} is not emulated.") from error
        data = json.loads(answer) if answer.strip() else {}
        if status >= 400:
            raise AwsError(str(data.get("__type", "InternalFailure")), str(data.get("message", data.get("Message", ""))), status)
        return dict(data)


def _run(application: Any, environ: dict[str, Any]) -> tuple[int, bytes]:
    """Run a WSGI application; its status and body."""
    statuses: list[str] = []

    def start_response(status: str, headers: Iterable[tuple[str, str]], error: object = None) -> None:
        statuses.append(status)

    answer = application(environ, start_response)
    try:
        body = b"".join(answer)
    finally:
        if hasattr(answer, "close"):
            answer.close()
    return int(statuses[-1].split()[0]), body
