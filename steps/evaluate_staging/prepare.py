"""First phase of an evaluation: read everything that it needs, and refuse what cannot work before an endpoint is paid for."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3

from delivery.aws import s3
from delivery.endpoint.hosting import Hosting
from delivery.errors import DeliveryError, InputError
from delivery.history.ledger import Ledger
from delivery.names import Fact
from delivery.registry import images
from delivery.registry.model_packages import ModelPackage
from loadtest.inputs import LoadInputs
from steps.evaluate_staging import baseline, run_to_run
from steps.evaluate_staging.baseline import Baseline
from steps.evaluate_staging.lm_eval.tasks import LmEvalTasks
from steps.evaluate_staging.load_errors import translate_load_errors
from steps.evaluate_staging.models import EvaluationArguments
from steps.evaluate_staging.recorder import Recorder

_ROOM_BYTES = 50_000_000


@dataclass(frozen=True)
class Prepared:
    """What is known before there is an endpoint: the other two phases work with it."""

    arguments: EvaluationArguments
    """Arguments of this run."""
    recorder: Recorder
    """Where the evaluation is to stand; it knows the version."""
    hosting: Hosting
    """The endpoints there."""
    image_facts: dict[str, str]
    """What is to be noted on the version of its image: the digest that its tag means now."""
    baseline: Baseline
    """What production serves, to compare with."""
    run_to_run: Mapping[str, Mapping[str, float]]
    """Load profile → metric → by how much its logarithm differs from run to run of the same version (standard deviation)."""
    inputs: LoadInputs
    """The files that loads are made of, all of them there."""
    accuracy: LmEvalTasks | None
    """The lm-eval tasks, all of them loaded; None where the model file names none."""

    @property
    def package(self) -> ModelPackage:
        """The version to evaluate."""
        return self.recorder.package

    @property
    def command_again(self) -> str:
        """The command that measures the same version again."""
        release = self.arguments.release
        where = " --env aws" if release.environment.kind == "aws" else ""
        return f"python -m pipelines.run evaluate {release.name} {self.package.version}{where}"


def prepare(recorder: Recorder, folder: Path) -> Prepared:
    """Read production's evaluation and the files of the load; let lm-eval load its tasks.

    Args:
        recorder: This run's.
        folder: Where files are kept until the load is over; whoever made it removes it.

    Returns:
        What `measure` and `publish` need.

    Raises:
        InputError: The version was rejected, or a trace, a prompts file, the tokenizer or a task can never work.
        DeliveryError: AWS could not be asked, or there is no room on the disk.
    """
    arguments, package, client = recorder.arguments, recorder.package, recorder.client
    release = arguments.release
    region, evaluation = release.environment.region, release.model.evaluation
    _require_room(folder, arguments.output)
    _require_undecided(package)
    hosting = Hosting(recorder.sagemaker, boto3.client("logs", region_name=region))
    _note_registration(recorder.ledger, package, arguments.execution)
    image_facts = images.fact(package, lambda ecr_region: boto3.client("ecr", region_name=ecr_region), release.environment.kind)
    found = baseline.read(release, hosting, recorder.ledger, recorder.sagemaker, client, package.arn)
    differ = run_to_run.read(recorder.ledger.events(), evaluation.load_profiles, client) if found.evaluation else {}
    inputs = LoadInputs(lambda uri: s3.read(client, s3.S3Uri.parse(uri)), folder, f"{release.weights_prefix}tokenizer.json")
    with translate_load_errors():
        inputs.check(evaluation.load_profiles.values())
    accuracy = LmEvalTasks.prepare(evaluation.lm_eval, client, folder / "lm_eval")
    return Prepared(arguments, recorder, hosting, image_facts, found, differ, inputs, accuracy)


def _require_room(*folders: Path) -> None:
    """Raise DeliveryError where a disk is nearly full: better now than when an hour of an endpoint was paid for."""
    for folder in folders:
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        free = shutil.disk_usage(there).free
        if free < _ROOM_BYTES:
            raise DeliveryError(
                f"the disk of {folder} has {free / 1e6:.0f} MB left, and an evaluation is not begun with less than {_ROOM_BYTES / 1e6:.0f} MB; "
                "make room there"
            )


def _require_undecided(package: ModelPackage) -> None:
    """Raise InputError for a version that somebody rejected: its numbers would decide nothing."""
    if package.approval_status == "Rejected":
        why = f": {package.approval_description}" if package.approval_description else ""
        raise InputError(f"version {package.version} is rejected{why}; it is not measured")


def _note_registration(ledger: Ledger, package: ModelPackage, execution: str) -> None:
    """Note that there is a new version. RegisterModel is SageMaker's own step and writes no ledger: the first step after it does.

    An evaluation of a version that was evaluated before finds it noted.
    """
    if any((event.kind, event.version) == ("registered", package.version) for event in ledger.events()):
        return
    known = (Fact.REPOSITORY, Fact.REVISION, Fact.WEIGHTS_MANIFEST_SHA256, Fact.RELEASE_FILE)
    details = {str(fact): package.facts[fact] for fact in known if fact in package.facts}
    ledger.append_once("registered", by=execution, version=package.version, model_package=package.arn, details=details)
