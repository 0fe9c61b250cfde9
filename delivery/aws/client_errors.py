"""What all calls to AWS share: errors that say what could not be done.

boto3 retries what is transient (throttling, a lost connection) by itself; what arrives here stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from delivery.errors import DeliveryError


@contextmanager
def translate_client_errors(action: str, permission: str = "that permission") -> Iterator[None]:
    """Turn what boto3 raises inside into a DeliveryError: `could not ACTION: CODE: message`.

    Args:
        action: A verb with its object.
        permission: What the step's role is to be given when AWS denied it.

    Raises:
        DeliveryError: AWS refused, or could not be reached.

    Example:
        >>> with translate_client_errors("read the moon"):
        ...     raise ClientError({"Error": {"Code": "NoSuchMoon", "Message": "it set"}}, "GetMoon")
        Traceback (most recent call last):
            ...
        delivery.errors.DeliveryError: could not read the moon: An error occurred (NoSuchMoon) when calling the GetMoon operation: it set
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        hint = f"; give the step's role {permission}" if "AccessDenied" in str(error) else ""
        raise DeliveryError(f"could not {action}: {error}{hint}") from error


def is_taken(error: BaseException) -> bool:
    """Tell whether SageMaker says that a thing of that name is there already: made by somebody else, or by a request whose answer got lost."""
    return "already exist" in str(error)


def is_absent(error: BaseException) -> bool:
    """Tell whether SageMaker says that the thing is not there: it has no error code of its own for that."""
    return "Could not find" in str(error) or "does not exist" in str(error)
