"""First phase of an evaluation: read everything that it needs, and refuse what cannot work before an endpoint is paid for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from delivery.aws import s3
from delivery.endpoint.hosting import Hosting
from delivery.history.ledger import Ledger
from delivery.names import Fact
from delivery.registry import images, model_packages
from delivery.registry.model_packages import ModelPackage
from loadtest.inputs import LoadInputs
from steps.evaluate_staging import baseline
from steps.evaluate_staging.baseline import Baseline
from steps.evaluate_staging.lm_eval_tasks import LmEvalTasks
from steps.evaluate_staging.load_errors import translate_load_errors
from steps.evaluate_staging.models import EvaluationArguments

if TYPE_CHECKING:
    from types_boto3_sagemaker.client import SageMakerClient


@dataclass(frozen=True)
class Prepared:
    """What is known before there is an endpoint: the other two phases work with it."""

    arguments: EvaluationArguments
    """Arguments of this run."""
    sagemaker: SageMakerClient
    """Of the environment's region."""
    hosting: Hosting
    """The endpoints there."""
    ledger: Ledger
    """The model's."""
    package: ModelPackage
    """The version to evaluate."""
    image_facts: dict[str, str]
    """What is to be noted on the version of its image: the digest that its tag means now."""
    baseline: Baseline
    """What production serves, to compare with."""
    inputs: LoadInputs
    """The files that loads are made of, all of them there."""
    accuracy: LmEvalTasks | None
    """The lm-eval tasks, all of them loaded; None where the model file names none."""


def prepare(arguments: EvaluationArguments, folder: Path) -> Prepared:
    """Read the version, production's evaluation and the files of the load; let lm-eval load its tasks.

    Args:
        arguments: Arguments of this run.
        folder: Where files are kept until the load is over; whoever made it removes it.

    Returns:
        What `measure` and `publish` need.

    Raises:
        InputError: There is no such version, or a trace, a prompts file, the tokenizer or a task can never work.
        DeliveryError: AWS could not be asked.
    """
    release = arguments.release
    region, evaluation = release.environment.region, release.model.evaluation
    sagemaker = boto3.client("sagemaker", region_name=region)
    hosting = Hosting(sagemaker, boto3.client("logs", region_name=region))
    client = s3.client(region)
    package = model_packages.read(sagemaker, arguments.model_package)
    ledger = Ledger(client, release.environment.bucket, release.name)
    _note_registration(ledger, package, arguments.execution)
    image_facts = images.fact(package, lambda ecr_region: boto3.client("ecr", region_name=ecr_region), release.environment.kind)
    found = baseline.read(release, hosting, sagemaker, client)
    inputs = LoadInputs(lambda uri: s3.read(client, s3.S3Uri.parse(uri)), folder, f"{release.weights_prefix}tokenizer.json")
    with translate_load_errors():
        inputs.check(evaluation.load_profiles.values())
    accuracy = LmEvalTasks.prepare(evaluation.lm_eval, client, folder / "lm_eval")
    return Prepared(arguments, sagemaker, hosting, ledger, package, image_facts, found, inputs, accuracy)


def _note_registration(ledger: Ledger, package: ModelPackage, execution: str) -> None:
    """Note that there is a new version. RegisterModel is SageMaker's own step and writes no ledger: the first step after it does."""
    known = (Fact.REPOSITORY, Fact.REVISION, Fact.WEIGHTS_MANIFEST_SHA256, Fact.RELEASE_FILE)
    details = {str(fact): package.facts[fact] for fact in known if fact in package.facts}
    ledger.append_once("registered", by=execution, version=package.version, model_package=package.arn, details=details)
