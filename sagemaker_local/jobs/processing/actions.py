"""The processing job actions of the SageMaker API."""

from sagemaker_local.jobs.actions import register
from sagemaker_local.jobs.processing.job import ProcessingJobs

register(ProcessingJobs, ("FailureReason", "ExitMessage"), deletable=True)
