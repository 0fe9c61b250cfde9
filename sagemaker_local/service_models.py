"""botocore's models of AWS's services: their operations and the shapes of what these take."""

from __future__ import annotations

import functools
from typing import Any

import botocore.session
from botocore.exceptions import DataNotFoundError, UnknownServiceError


@functools.cache
def service_model(service: str) -> Any:
    """Return the model of a service by its name in botocore, loaded once (the JSON of some is large); None for one that it does not know."""
    try:
        return botocore.session.get_session().get_service_model(service)
    except (UnknownServiceError, DataNotFoundError):
        return None
