"""Errors in AWS's shape: a code, a message and an HTTP status."""

from __future__ import annotations

import errno


class AwsError(Exception):
    """An error that a client sees: ``{"__type": code, "message": message}`` with this HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class ValidationError(AwsError):
    """A request that the service model, or a rule of the service, does not allow (``ValidationException``, 400)."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


class ResourceNotFound(AwsError):
    """A named resource does not exist (``ResourceNotFound``, 400, as SageMaker's model declares it)."""

    def __init__(self, message: str) -> None:
        super().__init__("ResourceNotFound", message)


class ResourceInUse(AwsError):
    """The name is taken, or the resource cannot be changed now (``ResourceInUse``, 400)."""

    def __init__(self, message: str) -> None:
        super().__init__("ResourceInUse", message)


class ConflictError(AwsError):
    """The resource is in a state that does not allow this (``ConflictException``, 409)."""

    def __init__(self, message: str) -> None:
        super().__init__("ConflictException", message, 409)


class NotImplementedHere(AwsError):
    """An action or a field that is not emulated here. 501 is a status that boto3 does not retry."""

    def __init__(self, message: str) -> None:
        super().__init__("NotImplemented", message, 501)


class DiskFull(AwsError):
    """The disk with the server's state is full. 507 is a status that boto3 does not retry."""

    def __init__(self, folder: object) -> None:
        super().__init__("InternalFailure", f"The disk of {folder} is full: free some space and try again.", 507)

    @classmethod
    def of(cls, error: Exception, folder: object) -> DiskFull | None:
        """This error, where another one means it; None where it means something else."""
        return cls(folder) if isinstance(error, OSError) and error.errno == errno.ENOSPC else None


class ImagesFileError(ValueError):
    """The images file cannot be used; the message says which entry and what it must be."""
