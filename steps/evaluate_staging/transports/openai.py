"""The OpenAI path of an endpoint, or of any server that speaks it: a bearer token, and the container's bytes as they are."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

from steps.evaluate_staging.transports import render


@dataclass(frozen=True)
class OpenAITransport:
    """POST URL/chat/completions."""

    url: str
    """The base URL as OpenAI clients are given it, ending in /v1."""
    token: str = ""
    """The bearer token; empty: none is sent."""
    model: str = ""
    """What the body names as the model. SageMaker routes by the path, and its containers take an empty one."""

    @classmethod
    def of_endpoint(cls, runtime_url: str, endpoint: str, token: str) -> OpenAITransport:
        """The OpenAI path of a SageMaker endpoint ("Invoke endpoints with OpenAI-compatible APIs", SageMaker developer guide)."""
        return cls(f"{runtime_url}/endpoints/{quote(endpoint)}/openai/v1", token)

    @property
    def server(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def fields(self) -> dict[str, Any]:
        """The model."""
        return {"model": self.model}

    @cached_property
    def _fixed(self) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Host": urlsplit(self.url).netloc, "Content-Type": "application/json", **authorization}

    def head(self, body: bytes) -> bytes:
        """With the bearer token."""
        path = f"{urlsplit(self.url).path.rstrip('/')}/chat/completions"
        return render(path, {**self._fixed, "Content-Length": str(len(body))})

    def decoder(self) -> AsItIs:
        """Nothing is around the container's bytes."""
        return AsItIs()


class AsItIs:
    """The container's bytes are the answer's."""

    def feed(self, data: bytes) -> bytes:
        """What came."""
        return data


def bearer_token(credentials: Any, region: str, expires_s: int) -> str:
    """A SageMaker bearer token, valid for `expires_s` (12 hours at most), made from botocore credentials without a call to AWS.

    The format is that of the SageMaker SDK's `token_generator`: a presigned CallWithBearerToken request in base64.
    """
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    host = "sagemaker.amazonaws.com"
    request = AWSRequest("POST", f"https://{host}/", headers={"host": host}, params={"Action": "CallWithBearerToken"})
    SigV4QueryAuth(credentials.get_frozen_credentials(), "sagemaker", region, expires=expires_s).add_auth(request)
    presigned = f"{request.url.removeprefix('https://')}&Version=1"
    return f"sagemaker-api-key-{base64.b64encode(presigned.encode()).decode()}"
