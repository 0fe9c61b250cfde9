"""The OpenAI path of an endpoint, or of any server that speaks it: a bearer token, and the container's bytes as they are."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.session
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from loadtest.transports import render

_TERM_S = 12 * 3600  # the longest that SageMaker allows
_RENEWED_S = 300.0


@dataclass(frozen=True)
class OpenAITransport:
    """POST URL/chat/completions."""

    url: str
    """The base URL as OpenAI clients are given it, ending in /v1."""
    token: str = ""
    """The bearer token; empty: none is sent."""
    model: str = ""
    """What the body names as the model. SageMaker routes by the path, and its containers take an empty one."""
    region: str = ""
    """Of which region bearer tokens are made here, from this process's credentials; empty: `token` is sent."""

    @classmethod
    def of_endpoint(cls, runtime_url: str, endpoint: str, region: str) -> OpenAITransport:
        """Return the transport to a SageMaker endpoint's OpenAI path ("Invoke endpoints with OpenAI-compatible APIs", SageMaker developer guide)."""
        return cls(f"{runtime_url}/endpoints/{quote(endpoint)}/openai/v1", region=region)

    @property
    def server(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def body_fields(self) -> dict[str, Any]:
        """The model."""
        return {"model": self.model}

    @property
    def bearer(self) -> str:
        """The token to send now."""
        return self._bearer_tokens.token() if self.region else self.token

    @cached_property
    def _bearer_tokens(self) -> _BearerTokens:
        return _BearerTokens(self.region)

    def request_head(self, body: bytes) -> bytes:
        """Return the request line and headers, with the bearer token."""
        parts, bearer = urlsplit(self.url), self.bearer
        headers = {"Host": parts.netloc, "Content-Type": "application/json", "Content-Length": str(len(body))}
        return render(
            f"{parts.path.rstrip('/')}/chat/completions", headers | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        )

    def decoder(self) -> PlainDecoder:
        """Return a decoder that changes nothing: nothing is around the container's bytes."""
        return PlainDecoder()


class _BearerTokens:
    """Bearer tokens, each made anew before the credentials behind it end.

    A token is good no longer than the credentials that it is made of, whatever its own term. A job's credentials change by the hour, and
    botocore has new ones at least ten minutes before the old ones end (`RefreshableCredentials`).
    """

    def __init__(self, region: str) -> None:
        self._region = region
        self._credentials = botocore.session.get_session().get_credentials()
        self._token, self._until_s = "", 0.0

    def token(self) -> str:
        """Return a token that is good for some minutes more."""
        now_s = time.monotonic()
        if not self._token or now_s > self._until_s:
            self._token, self._until_s = bearer_token(self._credentials, self._region, _TERM_S), now_s + _RENEWED_S
        return self._token


class PlainDecoder:
    """The container's bytes are the answer's."""

    def feed(self, data: bytes) -> bytes:
        """Return what came."""
        return data


def bearer_token(credentials: Any, region: str, expires_s: int) -> str:
    """Make a SageMaker bearer token without a call to AWS.

    The format is that of the SageMaker SDK's `token_generator`: a presigned CallWithBearerToken request in base64.

    Args:
        credentials: botocore credentials.
        region: the endpoint's region.
        expires_s: how long the token is valid, 12 hours at most. Seconds.

    Returns:
        The token, without "Bearer ".
    """
    host = "sagemaker.amazonaws.com"
    request = AWSRequest("POST", f"https://{host}/", headers={"host": host}, params={"Action": "CallWithBearerToken"})
    SigV4QueryAuth(credentials.get_frozen_credentials(), "sagemaker", region, expires=expires_s).add_auth(request)
    presigned = f"{str(request.url).removeprefix('https://')}&Version=1"
    return f"sagemaker-api-key-{base64.b64encode(presigned.encode()).decode()}"
