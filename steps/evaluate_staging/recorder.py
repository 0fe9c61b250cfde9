"""Where an evaluation stands: evaluation.json in S3 and in the job's output, its verdict and digest on the version and in the ledger.

The file comes first, so that nothing that fails later costs the measurement. A step that runs again after its verdict was noted anywhere
takes what it stored and notes what is missing; it measures nothing twice, and no version has one report while the ledger has another.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from pydantic import ValidationError

from delivery.aws import s3
from delivery.errors import DeliveryError
from delivery.history.ledger import Event, Ledger
from delivery.names import EVALUATION_FILE, Fact
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage
from loadtest.report import number
from steps.evaluate_staging.models import Evaluation, EvaluationArguments

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_sagemaker.client import SageMakerClient

logger = logging.getLogger(__name__)

_FACT_LIMIT = 40  # of the 50 that a version may have


@dataclass
class Recorder:
    """Keeps one execution's evaluation of one version."""

    arguments: EvaluationArguments
    """Arguments of this run."""
    sagemaker: SageMakerClient
    """Of the environment's region."""
    client: S3Client
    """Of the environment's region."""
    ledger: Ledger
    """The model's."""
    package: ModelPackage
    """The version to evaluate."""
    _stored: bytes | None = None

    @classmethod
    def open(cls, arguments: EvaluationArguments) -> Recorder:
        """Read the version. InputError when there is none."""
        release = arguments.release
        region = release.environment.region
        sagemaker, client = boto3.client("sagemaker", region_name=region), s3.client(region)
        package = model_packages.read(sagemaker, arguments.model_package)
        return cls(arguments, sagemaker, client, Ledger(client, release.environment.bucket, release.name), package)

    @property
    def folder(self) -> s3.S3Uri:
        """Where SageMaker brings the job's output."""
        return s3.S3Uri.parse(f"{self.arguments.release.evaluations_prefix}/{self.arguments.execution}/")

    @property
    def location(self) -> s3.S3Uri:
        """Where evaluation.json is: in that folder, before the job ends."""
        return self.folder / EVALUATION_FILE

    def find_earlier(self) -> Evaluation | None:
        """Find what an earlier run of this step, in the same execution, stored and noted.

        Returns:
            The evaluation; None where there is none, or where neither the version nor the ledger has its digest.

        Raises:
            DeliveryError: S3 refused.
            LedgerBroken: The chain does not hold.
        """
        body = s3.read(self.client, self.location)
        if body is None:
            return None
        noted = {event.details.get("sha256") for event in self._own_events()}
        if self.package.facts.get(Fact.EVALUATION_REPORT) == str(self.location):
            noted.add(self.package.facts.get(Fact.EVALUATION_SHA256))
        if hashlib.sha256(body).hexdigest() not in noted:
            return None
        try:
            found = Evaluation.model_validate_json(body)
        except ValidationError:
            return None  # of another format: measured anew
        self._stored = body
        return found

    def store(self, evaluation: Evaluation) -> Evaluation:
        """Write evaluation.json, the same bytes to S3 and to the output.

        Args:
            evaluation: What to write; a second one takes the place of the first.

        Returns:
            The evaluation that is stored: the first, where S3 refuses the second.

        Raises:
            DeliveryError: S3 refused the first. It is in the job's output, and the message has the verdict.
        """
        body = (evaluation.model_dump_json(indent=2) + "\n").encode()
        try:
            s3.write_json(self.client, self.location, body)
        except DeliveryError as error:
            if self._stored is not None:
                logger.warning(f"{error}; what was stored before stays")
                return Evaluation.model_validate_json(self._stored)
            self._write_output(body)
            raise DeliveryError(
                f"version {self.package.version} was measured ({evaluation.verdict}: {evaluation.summary}), but its evaluation could not be "
                f"stored, and stands nowhere: {error}"
            ) from error
        self._stored = body
        self._write_output(body)
        return evaluation

    def record(self, evaluation: Evaluation, image_facts: dict[str, str]) -> None:
        """Note the verdict on the version and in the ledger, each whether or not the other can be.

        Args:
            evaluation: The one that is stored.
            image_facts: What is to be noted on the version of its image.

        Raises:
            DeliveryError: The registry or the ledger refused. The next run of this step takes what is stored.
        """
        assert self._stored is not None  # noqa: S101  (stored, or found)
        sha256 = hashlib.sha256(self._stored).hexdigest()
        facts = self._facts(evaluation, sha256) | image_facts
        steps: list[Callable[[], object]] = [
            lambda: model_packages.annotate(self.sagemaker, self.arguments.model_package, facts),
            lambda: self._note_verdict(evaluation, sha256),
        ]
        failures = []
        for note in steps:
            try:
                note()
            except DeliveryError as error:
                failures.append(str(error))
        if failures:
            raise DeliveryError(
                f"version {evaluation.version} was measured ({evaluation.verdict}: {evaluation.summary}; {self.location}), but not all of it "
                f"could be noted: {'; '.join(failures)}"
            )

    def write_output(self) -> None:
        """Write what was found into the output."""
        assert self._stored is not None  # noqa: S101  (found)
        self._write_output(self._stored)

    def _write_output(self, body: bytes) -> None:
        """Write it whole or not at all: SageMaker brings the output to where S3 has it already."""
        folder: Path = self.arguments.output
        part, file = folder / f".{EVALUATION_FILE}", folder / EVALUATION_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(body)
            part.replace(file)
        except OSError as error:
            logger.warning(f"{file} could not be written: {error}; {self.location} is what counts")
            for one in (part, file):  # an earlier one would take the place of what S3 has
                forget(one)

    def _own_events(self) -> list[Event]:
        """List the verdicts of this execution about this version that the ledger has."""
        return [
            event
            for event in self.ledger.events()
            if (event.kind, event.by, event.version) == ("evaluated", self.arguments.execution, self.package.version)
        ]

    def _note_verdict(self, evaluation: Evaluation, sha256: str) -> None:
        """Write the verdict into the ledger, and which report it stands in. Idempotent: once for each report."""
        events = self._own_events()
        if events and events[-1].details.get("sha256") == sha256:
            return
        self.ledger.append(
            "evaluated",
            by=evaluation.execution,
            version=evaluation.version,
            model_package=evaluation.model_package,
            details={
                "verdict": evaluation.verdict,
                "summary": evaluation.summary,
                "report": str(self.location),
                "sha256": sha256,
            },
        )

    def _facts(self, evaluation: Evaluation, sha256: str) -> dict[str, str]:
        """Return what the registry keeps: the verdict, where the report is, its digest, the headline numbers."""
        found = {
            Fact.EVALUATION_VERDICT: evaluation.verdict,
            Fact.EVALUATION_REPORT: str(self.location),
            Fact.EVALUATION_SHA256: sha256,
            Fact.EVALUATED_AT: evaluation.evaluated_at,
        }
        numbers = [
            (f"evaluation:{name}:{metric}", number(result.value))
            for name, profile in evaluation.profiles.items()
            for metric, result in profile.objectives.items()
        ] + [(f"evaluation:lm_eval:{task}", number(result.value)) for task, result in evaluation.lm_eval.items()]
        return {str(key): value for key, value in found.items()} | dict(numbers[: _FACT_LIMIT - len(found)])


def forget(file: Path) -> None:
    """Delete a file that is not whole; that it cannot be deleted is a line of the log."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        logger.warning(f"{file} could not be deleted: {error}")
