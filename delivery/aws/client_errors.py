"""What all calls to AWS share: errors that say what could not be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from delivery.errors import DeliveryError


@contextmanager
def translate_client_errors(action: str, permission: str = "that permission") -> Iterator[None]:
    """Turn what boto3 raises inside into a DeliveryError: `could not ACTION: CODE: message`.

    `action` is a verb with its object; `permission` is what the step's role is to be given when AWS denied it.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        hint = f"; give the step's role {permission}" if "AccessDenied" in str(error) else ""
        raise DeliveryError(f"could not {action}: {error}{hint}") from error


def is_absent(error: BaseException) -> bool:
    """Whether SageMaker says that the thing is not there: it has no error code of its own for that."""
    return "Could not find" in str(error) or "does not exist" in str(error)
