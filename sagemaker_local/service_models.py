"""botocore's models of AWS's services: their operations and the shapes of what these take."""

from __future__ import annotations

import functools
import threading
from typing import Any

import botocore.session
from botocore.exceptions import DataNotFoundError, UnknownServiceError

_loading = threading.Lock()


def service_model(service: str) -> Any:
    """Return the model of a service by its name in botocore, loaded once (the JSON of some is large); None for one that it does not know."""
    with _loading:  # else the two threads that want the first call's would both load it
        return _loaded(service)


@functools.cache
def _loaded(service: str) -> Any:
    try:
        return botocore.session.get_session().get_service_model(service)
    except (UnknownServiceError, DataNotFoundError):
        return None
