"""Every exception of this package, in one tree::

    SagemakerLocalError
    ├── AwsError                  what a client sees: a code, a message and an HTTP status
    │   ├── ValidationError       400  a request that the model or a rule of the service does not allow; most names that do not exist
    │   ├── ResourceNotFound      400  a named resource does not exist
    │   ├── ResourceInUse         400  the name is taken
    │   ├── ConflictError         409  the resource's state does not allow this
    │   ├── ModelError            424  the model's container answered with an error, too late, or not at all
    │   ├── NotImplementedHere    501  not emulated here
    │   └── DiskFull              507  no room for the server's state
    ├── ImagesFileError           the images file cannot be used (also a ValueError)
    ├── AlarmRuleError            the rule of a composite alarm cannot be read (also a ValueError)
    ├── JobError                  a job fails: the message is its FailureReason
    │   ├── InputError            an input could not be brought
    │   ├── OutputError           an output could not be uploaded
    │   ├── StartError            a process could not be started
    │   └── ContainerError        a model's container cannot serve, or did not answer well
    ├── UnresolvedError           an expression of a pipeline definition has no value
    ├── StepFailed                a pipeline's step failed: why, and how retry policies name it
    ├── StepStopped               a step was stopped before it had succeeded or failed
    ├── FunctionError             a Lambda function raised, or did not end in time
    ├── UnsafeNameError           a name from outside is none of a file below its folder
    ├── DownloadError             model data cannot be had: the message is the endpoint's FailureReason
    ├── InstanceFailed            an instance cannot serve: the message is the endpoint's FailureReason
    ├── UpdateFailed              an endpoint's update was rolled back: the message is the endpoint's FailureReason
    ├── RollbackFailed            ... and could not be rolled back wholly
    ├── PromqlError               a query of CloudWatch's PromQL API is wrong, or has something that is not emulated
    └── ClientDisconnected        a client went away before its request was whole

Transient errors are AWS's: ``ThrottlingException``, and what has a status of 500 or 503; clients retry those. 501 and 507 are statuses that
boto3 does not retry, since what they say stays so.
"""

from __future__ import annotations

import errno

_LONGEST_NAME = 200


class SagemakerLocalError(Exception):
    """The root of the tree."""


class AwsError(SagemakerLocalError):
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


class ModelError(AwsError):
    """The container answered with an error, too late, or not at all (424)."""

    def __init__(self, region: str, account_id: str, endpoint: str, status: int, body: str) -> None:
        self.original_status = status
        side = "client" if 400 <= status < 500 else "server"
        group = f"/aws/sagemaker/Endpoints/{endpoint}"
        super().__init__(
            "ModelError",
            f'Received {side} error ({status}) from primary with message "{body}". See https://{region}.console.aws.amazon.com/'
            f"cloudwatch/home?region={region}#logEventViewer:group={group} in account {account_id} for more information.",
            424,
        )
        self.more = {
            "OriginalStatusCode": status,
            "OriginalMessage": body,
            "LogStreamArn": f"arn:aws:logs:{region}:{account_id}:log-group:{group}",
            "Message": self.message,
        }


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
        """Return this error, where another one means it; None where it means something else."""
        return cls(folder) if isinstance(error, OSError) and error.errno == errno.ENOSPC else None


class ImagesFileError(SagemakerLocalError, ValueError):
    """The images file cannot be used; the message says which entry and what it must be."""


class AlarmRuleError(SagemakerLocalError, ValueError):
    """The rule of a composite alarm cannot be read; the message says where."""


class JobError(SagemakerLocalError):
    """The job fails: the message becomes its FailureReason."""


class InputError(JobError):
    """An input could not be brought."""


class OutputError(JobError):
    """An output could not be uploaded."""


class StartError(JobError):
    """A process could not be started."""


class ContainerError(JobError):
    """A model's container cannot serve, or did not answer well."""


class UnresolvedError(SagemakerLocalError):
    """An expression that has no value: the message names it and says what was there instead."""


class StepFailed(SagemakerLocalError):
    """The step failed: ``reason`` is its FailureReason, ``exception_type`` what a retry policy may name, or None."""

    def __init__(self, reason: str, exception_type: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exception_type = exception_type


class StepStopped(SagemakerLocalError):
    """The step was stopped before it had succeeded or failed."""


class FunctionError(SagemakerLocalError):
    """The function raised, or did not end in time: the message is what Lambda reports as ``errorMessage``."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(f"{error_type}: {message}" if message else error_type)


class UnsafeNameError(SagemakerLocalError):
    """A key or an archive's member that is not written: it would be outside of its folder, over another file, or is no file name here."""

    def __init__(self, name: str, why: str) -> None:
        shown = ascii(name) if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]!a}…"
        super().__init__(f"{shown} is not written: {why}")


class DownloadError(SagemakerLocalError):
    """Model data cannot be had; the message is the endpoint's FailureReason, worded as SageMaker's."""


class InstanceFailed(SagemakerLocalError):
    """An instance cannot serve; the message is the endpoint's FailureReason."""


class UpdateFailed(SagemakerLocalError):
    """The update was rolled back and the old fleet serves; the message is the endpoint's FailureReason."""


class RollbackFailed(SagemakerLocalError):
    """The update failed and could not be rolled back wholly; the message is the endpoint's FailureReason."""


class PromqlError(SagemakerLocalError):
    """A query of CloudWatch's PromQL API that is wrong, or has something that is not emulated."""


class ClientDisconnected(SagemakerLocalError):
    """The client went away before its request was whole."""
