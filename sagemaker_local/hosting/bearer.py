"""Bearer tokens of the OpenAI path, in the format of the SageMaker SDK's ``token_generator``.

A token is ``sagemaker-api-key-`` and, in base64, a presigned CallWithBearerToken request: it names the region and says until when it
is good (12 hours at most). Its signature is not checked, as no signature is.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import time
from urllib.parse import parse_qs

from sagemaker_local.errors import AwsError

PREFIX = "sagemaker-api-key-"


def region_of(authorization: str) -> str | None:
    """The region that a token is for; None for a token of another kind, which is let through.

    Raises:
        AwsError: ``AccessDeniedException`` (403): the token is malformed, or no longer good.
    """
    token = authorization.removeprefix("Bearer ").strip()
    if not token.startswith(PREFIX):
        return None
    try:
        query = parse_qs(base64.b64decode(token.removeprefix(PREFIX), validate=True).decode().partition("?")[2])
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
