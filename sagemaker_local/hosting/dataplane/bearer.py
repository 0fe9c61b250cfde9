"""Bearer tokens of the OpenAI path, in the format of the SageMaker SDK's ``token_generator``.

A token is ``sagemaker-api-key-`` and, in base64, a presigned CallWithBearerToken request: it names the region and says until when it
is good (12 hours at most). Its signature is not checked, as no signature is.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from sagemaker_local.errors import AwsError

if TYPE_CHECKING:
    from sagemaker_local.identity.identities import Caller, Identities
    from sagemaker_local.web.request import HttpRequest

PREFIX = "sagemaker-api-key-"


def caller_of(request: HttpRequest, identities: Identities) -> Caller:
    """Return who calls the data plane: who has signed the request, or the token that it carries."""
    token = _token(request.headers.get("authorization", ""))
    try:
        query = _query(token) if token else {}
        key = query["X-Amz-Credential"][0].partition("/")[0] if query else ""
    except (binascii.Error, UnicodeDecodeError, KeyError, IndexError):
        return identities.caller("")  # region_of will refuse it
    return identities.caller(key, query.get("X-Amz-Security-Token", [None])[0]) if key else identities.caller_of(request)


def _token(authorization: str) -> str | None:
    """Return the token of an Authorization header; None when it is of another kind."""
    token = authorization.removeprefix("Bearer ").strip()
    return token.removeprefix(PREFIX) if token.startswith(PREFIX) else None


def _query(token: str) -> dict[str, list[str]]:
    return parse_qs(base64.b64decode(token, validate=True).decode().partition("?")[2])


def region_of(authorization: str) -> str | None:
    """Return the region that a token is for; None for a token of another kind, which is let through.

    Raises:
        AwsError: ``AccessDeniedException`` (403): the token is malformed, or no longer good.
    """
    token = _token(authorization)
    if token is None:
        return None
    try:
        query = _query(token)
        scope = query["X-Amz-Credential"][0].split("/")
        issued = calendar.timegm(time.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ"))
        good_until = issued + int(query["X-Amz-Expires"][0])
        region, service = scope[-3], scope[-2]
    except (binascii.Error, UnicodeDecodeError, KeyError, IndexError, ValueError) as error:
        raise AwsError("AccessDeniedException", "The bearer token is malformed.", 403) from error
    if query.get("Action") != ["CallWithBearerToken"] or service != "sagemaker":
        raise AwsError("AccessDeniedException", "The bearer token is not one for SageMaker.", 403)
    if time.time() > good_until:
        raise AwsError("AccessDeniedException", "The bearer token has expired.", 403)
    return region
