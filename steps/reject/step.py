"""Reject: the version's status in the registry becomes Rejected, its description the gate's reason."""

from __future__ import annotations

import json
from pathlib import Path

import boto3

from config.schema import Release
from steps import registry
from steps.errors import InputError
from steps.job import say
from steps.names import REJECTION_FILE
from steps.reject.models import Rejection


def run(release: Release, model_package: str, evaluation: Path, output: Path) -> Rejection:
    """Mark the version and write OUTPUT/rejection.json. Marking it twice changes nothing."""
    try:
        summary: str = json.loads(evaluation.read_bytes())["summary"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{evaluation} is not an evaluation: {error}") from error
    rejection = Rejection(model_package=model_package, reason=summary)
    registry.reject(boto3.client("sagemaker", region_name=release.environment.region), model_package, summary)
    output.mkdir(parents=True, exist_ok=True)
    (output / REJECTION_FILE).write_text(rejection.model_dump_json(indent=2) + "\n", encoding="utf-8")
    say(f"rejected {model_package}: {summary}")
    return rejection
