"""What can go wrong with a job's inputs, outputs and processes."""

from __future__ import annotations


class JobError(Exception):
    """The job fails: the message becomes its FailureReason."""


class InputError(JobError):
    """An input could not be brought."""


class OutputError(JobError):
    """An output could not be uploaded."""


class StartError(JobError):
    """A process could not be started."""
