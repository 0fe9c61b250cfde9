"""The transform job actions of the SageMaker API."""

from sagemaker_local.jobs.actions import register
from sagemaker_local.jobs.transform.job import TransformJobs

register(TransformJobs, ("FailureReason",), deletable=False)
