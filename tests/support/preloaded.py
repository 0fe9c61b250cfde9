"""What a fork server imports before it forks the first step: see `tests.support.forked`."""

from __future__ import annotations

import awscrt.checksums
import boto3
import huggingface_hub.hf_api
import pandas  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

import steps.evaluate_staging.report
import steps.evaluate_staging.step
import steps.fetch_weights.step
import steps.promote.step
import steps.reap.step
import steps.verify_approval.step
from sagemaker_local.session import make_client
from tests.support.clients import share_service_models

PRELOADED = (awscrt.checksums, boto3, huggingface_hub.hf_api, pandas, pyarrow.parquet, steps)
_SERVICES = ("s3", "sagemaker", "sagemaker-runtime", "cloudwatch", "logs", "application-autoscaling", "ecr", "sts")

share_service_models()
for _service in _SERVICES:
    make_client(_service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
boto3.DEFAULT_SESSION = None
