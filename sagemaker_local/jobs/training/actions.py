"""The training job actions of the SageMaker API."""

from sagemaker_local.jobs.actions import register
from sagemaker_local.jobs.training.job import TrainingJobs

register(TrainingJobs, ("SecondaryStatus",), deletable=True)
