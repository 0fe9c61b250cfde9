"""A SageMaker on this machine.

One HTTP port that boto3, the AWS CLI, the SageMaker SDK and the OpenAI SDK talk to: moto keeps the control plane's state,
real processes stand for containers. What a container image means here is told by an images file (see ``images.py``).
``python -m sagemaker_local`` starts it, ``session.Session`` is a boto3 session of it, ``testing`` has a fixture for tests;
``docs/sagemaker_local.md`` begins with a first pipeline and says what is not emulated.
"""
