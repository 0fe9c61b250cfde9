"""One registered version and the evaluation step on an AWS of this process: an evaluation in milliseconds, for what AWS may say to it.

No load is put on: what a load would have measured is made up. That loads are put on, `tests.support.worlds.evaluation` shows.
"""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from config.schema import Release
from delivery.history.ledger import Event, Ledger
from delivery.job import frame
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.worker_result import WorkerResult
from loadtest.runner import ProfileRun
from pipelines.definitions.requests import model_package
from steps.evaluate_staging import __main__ as evaluate_staging
from steps.evaluate_staging import measure
from steps.evaluate_staging.models import Evaluation
from steps.reject import __main__ as reject
from tests.steps.evaluate_staging.evaluations import SECOND, requests
from tests.support.fake_aws import FakeAws
from tests.support.fake_aws.shapes import client_error
from tests.support.worlds.evaluation import BUCKET, EVALUATION, IMAGE, ROOT, closed_loop

ROLE = "arn:aws:iam::123456789012:role/release-evaluate"
MODEL = "sim"


@dataclass
class Fault:
    """An action that AWS refuses: the first time, the last time, or always."""

    action: str
    error: Exception
    when: range = range(sys.maxsize)
    """Which of its calls, counted from 0."""
    key: str = ""
    """Of an object: the end of its key."""
    seen: int = 0

    def raise_if_due(self, action: str, parameters: dict[str, Any]) -> None:
        """Refuse a call that is one of these."""
        if action == self.action and parameters.get("Key", "").endswith(self.key):
            self.seen += 1
            if self.seen - 1 in self.when:
                raise self.error


def denied(action: str) -> Exception:
    """What a role without that permission is told."""
    return client_error(action, "AccessDeniedException", f"not authorized to perform {action}")


@dataclass
class Ended:
    """How one run of the step ended."""

    exit_code: int
    text: str
    """What it wrote."""
    output: Path
    message: str
    """What SageMaker shows as the reason of its failure; empty where it did not fail."""

    @property
    def evaluation(self) -> Evaluation | None:
        """What it put out; None where it put out nothing."""
        file = self.output / "evaluation.json"
        return Evaluation.model_validate_json(file.read_bytes()) if file.exists() else None


@dataclass
class FakeEvaluationWorld:
    """A version, and the step that evaluates it."""

    folder: Path
    aws: FakeAws = field(default_factory=FakeAws)
    during_load: Callable[[], None] = lambda: None
    """What happens while the load is on."""
    failing: tuple[str, str] | None = None
    """How every tenth request fails: the kind, and what it says."""
    puts_loads_on: bool = False
    """Whether the step's own runner is called; else its measurement is made up."""

    def __post_init__(self) -> None:
        self.release = Release.model_validate(
            {
                "name": MODEL,
                "model": {
                    "weights": {"hub": "local", "repository": "test/sim", "revision": "0" * 40},
                    "serving": {"instance_type": "ml.p5.48xlarge", "tensor_parallel_size": 8, "image": IMAGE},
                    "evaluation": {
                        **EVALUATION,
                        "load_profiles": {"short": closed_loop(duration_s=20)},
                        "prompt_checks": [{"prompt": "The capital of France?", "expect": "Paris"}],
                    },
                    "production": {"endpoint": MODEL},
                },
                "environment": yaml.safe_load((ROOT / "config/environments/local.yaml").read_text()),
                "serving_image": IMAGE,
            }
        )
        bucket, prefix = self.release.weights_prefix.removeprefix("s3://").split("/", 1)
        self.client("s3").put_object(
            Bucket=bucket, Key=f"{prefix}simulated.json", Body=b'{"answers": {"France": "It is Paris."}}'
        )
        sagemaker = self.client("sagemaker")
        sagemaker.create_model_package_group(ModelPackageGroupName=self.release.package_group)
        made = sagemaker.create_model_package(**model_package(self.release, {"weights:revision": "0" * 40}))
        self.arn: str = made["ModelPackageArn"]
        self.aws.calls.clear()

    def client(self, service: str) -> Any:
        """A client of the account's owner: a person."""
        return self.aws.client(service)

    def run(self, execution: str = "execution001", *faults: Fault) -> Ended:
        """Run the step once, as the pipeline does, with these faults."""
        return self._run(evaluate_staging.main, execution, self.folder / execution, [], faults)

    def reject(self, evaluation: Path, *faults: Fault, execution: str = "execution001") -> Ended:
        """Run the step Reject once, with these faults."""
        return self._run(reject.main, execution, self.folder / "rejected", ["--evaluation", str(evaluation)], faults)

    def _run(
        self, main: Callable[[Sequence[str]], None], execution: str, output: Path, more: list[str], faults: tuple[Fault, ...]
    ) -> Ended:
        release, message = self.folder / "release.json", self.folder / f"{execution}.message"
        release.write_text(self.release.to_json())
        message.unlink(missing_ok=True)
        arguments = ["--release", str(release), "--model-package", self.arn, "--execution", execution, "--output", str(output)]
        written = io.StringIO()
        before = signal.getsignal(signal.SIGTERM)

        def layer(call: dict[str, Any], answer: Callable[[], Any]) -> Any:
            for fault in faults:
                fault.raise_if_due(call["action"], call["parameters"])
            return answer()

        self.aws.layer = layer
        try:
            with self._patched(), contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
                code = frame.main(main, [*arguments, *more, "--message-file", str(message)])
        finally:
            self.aws.layer = None
            signal.signal(signal.SIGTERM, before)
        return Ended(code, written.getvalue(), output, message.read_text() if message.exists() else "")

    def counts(self) -> dict[str, int]:
        """How often the step calls each action when all goes well."""
        self.aws.calls.clear()
        ended = self.run("counted00000")
        assert ended.exit_code == 0, ended.text
        counted: dict[str, int] = {}
        for call in self.aws.calls:
            counted[call["action"]] = counted.get(call["action"], 0) + 1
        return counted

    @contextlib.contextmanager
    def _patched(self) -> Iterator[None]:
        own = measure._EndpointUnderTest.put_loads_on

        def put_loads_on(endpoint: Any) -> Any:
            self.during_load()
            return own(endpoint) if self.puts_loads_on else (None, {"short": ProfileRun(_measurement(self.failing))})

        with (
            self.aws.acting_as(ROLE),
            mock.patch("steps.evaluate_staging.measure._EndpointUnderTest.put_loads_on", put_loads_on),
            mock.patch("steps.evaluate_staging.measure._EndpointUnderTest._ask_in_a_batch", return_value=None),
            mock.patch("steps.evaluate_staging.expectations.check", return_value=None),  # great_expectations takes 6 s
            mock.patch("steps.evaluate_staging.report.render", return_value="the page"),  # and matplotlib 1.5 s
        ):
            yield

    @property
    def package(self) -> dict[str, Any]:
        """The version in the registry."""
        found: dict[str, Any] = self.client("sagemaker").describe_model_package(ModelPackageName=self.arn)
        return found

    @property
    def facts(self) -> dict[str, str]:
        """What is noted on the version."""
        noted: dict[str, str] = self.package["CustomerMetadataProperties"]
        return noted

    @property
    def version(self) -> ModelPackage:
        """The version as steps read it."""
        return model_packages.read(self.client("sagemaker"), self.arn)

    @property
    def ledger(self) -> Ledger:
        """The model's."""
        return Ledger(self.client("s3"), BUCKET, MODEL)

    def evaluated(self) -> list[Event]:
        """The verdicts in the ledger."""
        return [event for event in self.ledger.events() if event.kind == "evaluated"]

    def stored(self, execution: str = "execution001") -> bytes | None:
        """The bytes of evaluation.json in S3; None where there is none."""
        from delivery.aws import s3

        return s3.read(self.client("s3"), s3.S3Uri.parse(f"{self.release.evaluations_prefix}/{execution}/evaluation.json"))

    @property
    def staging(self) -> list[str]:
        """The names of the staging endpoints that are there."""
        return [name for name, one in self.aws._services["sagemaker"]._endpoints.items() if one.status != "Deleting"]  # type: ignore[attr-defined]


def _measurement(failing: tuple[str, str] | None) -> Measurement:
    """What an engine with no fault would give, and with one."""
    made, found = Measurement(0, 20 * SECOND), requests(7, 20, rate=5, tokens=8)
    for result in found[::10] if failing else ():
        (result.error, result.message), result.finish_reason = failing or ("", ""), ""
    made.merge(WorkerResult(found, [400_000] * 100, 0.3))
    return made
