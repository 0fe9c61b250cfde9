"""Reject: the version's status in the registry becomes Rejected, its description the gate's reason, and the ledger says so."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import boto3

from config.schema import Release
from delivery.aws import s3
from delivery.errors import InputError
from delivery.history import registry_decisions
from delivery.history.ledger import Ledger
from delivery.names import REJECTION_FILE
from delivery.registry import model_packages
from steps.reject.models import Rejection

logger = logging.getLogger(__name__)


def run(release: Release, model_package: str, execution: str, evaluation: Path, output: Path) -> Rejection:
    """Mark the version, note it in the ledger and write OUTPUT/rejection.json. Idempotent. What a person decided stands.

    Args:
        release: The resolved model file.
        model_package: The version's ARN.
        execution: The pipeline execution.
        evaluation: The evaluation.json that the gate read.
        output: The folder that rejection.json is written to.

    Returns:
        What rejection.json says.

    Raises:
        InputError: The file is no evaluation.
        DeliveryError: AWS refused.
    """
    try:
        summary: str = json.loads(evaluation.read_bytes())["summary"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{evaluation} is not an evaluation: {error}") from error
    region = release.environment.region
    sagemaker = boto3.client("sagemaker", region_name=region)
    ledger = Ledger(s3.client(region), release.environment.bucket, release.name)
    package = model_packages.read(sagemaker, model_package)
    stands = registry_decisions.reject_for_gate(ledger, sagemaker, package, execution=execution, reason=summary)
    rejection = Rejection(model_package=model_package, reason=f"{summary}; {stands}" if stands else summary)
    output.mkdir(parents=True, exist_ok=True)
    (output / REJECTION_FILE).write_text(rejection.model_dump_json(indent=2) + "\n", encoding="utf-8")
    logger.info(f"{'did not reject' if stands else 'rejected'} {model_package}: {rejection.reason}")
    return rejection
