"""Evaluations, and what the gate does with them: a staging endpoint is measured, a version that failed is rejected, the reaper comes."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock
from urllib.parse import SplitResult, urlsplit

from delivery.errors import DeliveryError
from delivery.history.ledger import Event
from delivery.names import EXPIRES_TAG, Fact
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.request_record import RequestRecord
from loadtest.runner import ProfileRun
from steps.evaluate_staging import __main__ as evaluate
from steps.evaluate_staging import measure, publish
from steps.evaluate_staging.models import Evaluation
from steps.reap import __main__ as reap
from steps.reject import __main__ as reject
from tests.faults import invariants
from tests.faults.injector import Injection
from tests.faults.scenario import BY_HAND, Ended, Scenario, empty_bucket, run_step
from tests.support.worlds.evaluation import REAP_ROLE
from tests.support.worlds.promotion import PromotionWorld, Version

_NAME = "chat"
_SECOND = 1_000_000_000
_COSTS_NOTHING = ("DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel", "PutMetricData")
"""Calls for decorations and cleaning up: that they fail costs no result."""


class _Staged(Scenario):
    """A version that is registered, and production of the one before it."""

    version: Version
    destination: SplitResult
    """Where in S3 SageMaker stores the files of the last evaluation."""

    @property
    def world(self) -> PromotionWorld:
        """The account, and short forms of what is done with it."""
        return PromotionWorld(self.aws, self.folder)

    @property
    def output(self) -> Path:
        """The folder of the evaluation step's files."""
        return self.folder / "evaluation"

    @property
    def package(self) -> ModelPackage:
        """The version as the registry has it."""
        return model_packages.read(self.aws.client("sagemaker"), self.version.arn)

    def prepare(self) -> None:
        """Promote the first version, register the second."""
        self.world.serve(self.world.version(_NAME))
        self.version = self.world.version(_NAME, evaluated=False)

    def evaluate(self, execution: str, caller: str = "") -> Ended:
        """Run the step, the load taken for done; SageMaker stores its files when it ends well."""
        arguments = [
            *("--release", str(self.version.file), "--model-package", self.version.arn),
            *("--execution", execution, "--output", str(self.output)),
        ]
        role = self.version.release.environment.roles.evaluate
        with self.aws.acting_as(role), _load_taken_for_done(), self.injector.calls_of(caller):
            ended = run_step(evaluate.main, arguments, self.folder)
        self.destination = urlsplit(f"{self.version.release.evaluations_prefix}/{execution}/")
        if ended.exit_code == 0:
            for file in self.output.glob("*.json"):
                self.aws.client("s3").put_object(**self._object(file.name), Body=file.read_bytes())
        return ended

    def _object(self, file: str) -> dict[str, str]:
        return {"Bucket": self.destination.netloc, "Key": self.destination.path.removeprefix("/") + file}

    def stored(self) -> bytes | None:
        """Return evaluation.json as the gate reads it: from S3, where the step put it itself when the job's disk was full."""
        s3 = self.aws.client("s3")
        try:
            return bytes(s3.get_object(**self._object("evaluation.json"))["Body"].read())
        except s3.exceptions.NoSuchKey:
            return None

    def reap(self, caller: str = "") -> Ended:
        """Run one pass of the reaper."""
        with self.aws.acting_as(REAP_ROLE), self.injector.calls_of(caller):
            return run_step(reap.main, ["--region", "us-east-1", "--wait-s", "60"], self.folder)

    def staged(self) -> list[str]:
        """List what is there of staging: endpoints, endpoint configs, models."""
        sagemaker = self.aws.client("sagemaker")
        endpoints = [one["EndpointArn"] for one in sagemaker.list_endpoints(NameContains="staging-")["Endpoints"]]
        for arn in endpoints:
            for _ in range(2):  # one that is being deleted is gone at the second look
                self.world.endpoint(arn.rsplit("/", 1)[1])
        endpoints = [one["EndpointArn"] for one in sagemaker.list_endpoints(NameContains="staging-")["Endpoints"]]
        configs = [
            one["EndpointConfigArn"] for one in sagemaker.list_endpoint_configs(NameContains="staging-")["EndpointConfigs"]
        ]
        models = [one["ModelArn"] for one in sagemaker.list_models(NameContains="staging-")["Models"]]
        return [*endpoints, *configs, *models]

    def let_expire(self) -> None:
        """Let all of it be past its time."""
        for arn in self.staged():
            self.expire(arn, datetime(2020, 1, 1, tzinfo=UTC))

    def expire(self, arn: str, at: datetime) -> None:
        """Let that be the time at which one of them expires."""
        expires = {"Key": EXPIRES_TAG, "Value": at.isoformat(timespec="seconds")}
        self.aws.client("sagemaker").add_tags(ResourceArn=arn, Tags=[expires])

    def told(self, kind: str) -> list[Event]:
        """Return the ledger's events of that kind about the version."""
        return [event for event in self.world.events(self.version) if (event.kind, event.version) == (kind, self.version.number)]

    def production_is_as_it_was(self) -> Iterator[str]:
        """Production serves the first version, and the ledger says so."""
        now = invariants.serving(self.world, self.version)
        yield from invariants.in_service(now, 1)
        if now.config != now.recorded:
            yield f"production and the ledger differ: {now}"


class Evaluate(_Staged):
    """The second version of a model is evaluated, with the first in production to compare with."""

    name = "evaluate"
    moments: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **Scenario.moments,
        "endpoint-deleted": ("sagemaker:InvokeEndpoint",),
        "version-deleted": ("sagemaker:CreateModel", "sagemaker:InvokeEndpoint"),
        "bucket-emptied": ("sagemaker:InvokeEndpoint",),
    }
    event = ""
    """What was done by hand; empty when nothing was."""

    def prepare(self) -> None:
        """Promote the first version, register the second."""
        super().prepare()
        sagemaker = self.aws.client("sagemaker")
        self.injector.events |= {
            "endpoint-deleted": self._delete_staging,
            "version-deleted": lambda: sagemaker.delete_model_package(ModelPackageName=self.version.arn),
            "bucket-emptied": lambda: empty_bucket(self.aws, self.version.release.environment.bucket),
        }

    def _delete_staging(self) -> None:
        sagemaker = self.aws.client("sagemaker")
        [name] = [one["EndpointName"] for one in sagemaker.list_endpoints(NameContains="staging-")["Endpoints"]]
        sagemaker.delete_endpoint(EndpointName=name)
        for _ in range(2):
            self.world.endpoint(name)

    def attack(self, execution: str) -> Ended:
        """Run the step."""
        return self.evaluate(execution, "evaluate")

    def again(self, execution: str) -> Ended:
        """Run it again; a result that decides nothing is kept, and `evaluate MODEL VERSION` is another execution."""
        ended = self.attack(execution)
        if ended.exit_code == 0 and self._evaluation.verdict != "passed":
            ended = self.attack(f"{execution}-2")
        return ended

    @property
    def _evaluation(self) -> Evaluation:
        return Evaluation.model_validate_json(self.stored() or b"")

    def after_attack(self, ended: Ended, injection: Injection | None) -> Iterator[str]:
        """The version waits, production is untouched, and after one pass of the reaper nothing is left."""
        self.event = injection.fault if injection is not None and injection.fault in BY_HAND else ""
        if self.event:
            yield from self._after_event(ended)
            return
        yield from invariants.the_cause_is_named(ended, injection)
        yield from self.production_is_as_it_was()
        if self.package.approval_status != "PendingManualApproval":
            yield f"the version is {self.package.approval_status}"
        if ended.exit_code == 0:
            is_too_slow = injection is not None and (injection.call, injection.fault) == ("sagemaker:InvokeEndpoint", "hangs")
            yield from self._has_one_result("passed", "invalid", *(["failed"] if is_too_slow else []))
        elif injection is not None and injection.call.split(":")[1] in _COSTS_NOTHING and not _goes_on(injection):
            yield f"the result is lost for {injection.call}: {ended.message}"
        self.let_expire()
        if (reaped := self.reap()).exit_code:
            yield f"the reaper failed: {reaped.message}"
        if left := self.staged():
            yield f"left after one pass of the reaper: {left}"

    def _after_event(self, ended: Ended) -> Iterator[str]:
        """What went away under it is an error that says so, no verdict about the version, and leaves nothing."""
        yield from invariants.the_cause_is_named(ended, None)
        if self.event != "bucket-emptied" and ended.exit_code == 0 and self._evaluation.verdict != "invalid":
            yield f"the verdict is {self._evaluation.verdict}: {self._evaluation.summary}"
        self.let_expire()
        if (reaped := self.reap()).exit_code or self.staged():
            yield f"left after one pass of the reaper: {self.staged()}; {reaped.message}"

    def after_all(self, ended: Ended) -> Iterator[str]:
        """There is a result that holds: with it the version is promoted, once somebody approves it."""
        if self.event in {"version-deleted", "bucket-emptied"}:
            yield from invariants.the_cause_is_named(ended, None)
            return
        if ended.exit_code:
            yield f"the run after it ended with {ended.exit_code}: {ended.message}"
            return
        yield from self._has_one_result("passed")
        if left := self.staged():
            yield f"left: {left}"
        told = [event.by for event in self.told("registered")]
        if len(set(told)) != len(told) or not told:
            yield f"that the version was registered, the ledger has from {told}"
        model_packages.approve(self.aws.client("sagemaker"), self.version.arn, "good")
        try:
            self.world.serve(self.version)
        except DeliveryError as error:
            yield f"it cannot be promoted: {error}"

    def _has_one_result(self, *verdicts: str) -> Iterator[str]:
        if (body := self.stored()) is None:
            yield "success without an evaluation.json, which the gate reads"
            return
        written = hashlib.sha256(body).hexdigest()
        noted = self.package.facts.get(Fact.EVALUATION_SHA256)
        told = [event.details.get("sha256") for event in self.told("evaluated")][-1:]
        if self._evaluation.verdict not in verdicts:
            yield f"the verdict is {self._evaluation.verdict}: {self._evaluation.summary}"
        if noted != written or told != [written]:
            yield f"evaluation.json is {written[:8]}, on the version is {noted}, in the ledger {told}"


class EvaluateBeside(Evaluate):
    """The same with production's version on a second staging endpoint: what fails of that one costs no result, only the comparison."""

    name = "evaluate-beside"

    def prepare(self) -> None:
        """Let an objective be relative to production, measured beside the version."""
        super().prepare()
        release = json.loads(self.version.file.read_text())
        evaluation = release["model"]["evaluation"]
        evaluation["baseline"] = "interleaved"
        [profile] = evaluation["load_profiles"].values()
        profile["objectives"] |= {"ttft_p50_ms": {"at_most": 5000, "at_most_production": 100}}
        self.version.file.write_text(json.dumps(release))

    def _delete_staging(self) -> None:
        """Delete production's version on staging."""
        sagemaker = self.aws.client("sagemaker")
        names = [one["EndpointName"] for one in sagemaker.list_endpoints(NameContains="staging-")["Endpoints"]]
        [name] = [one for one in names if f"staging-{_NAME}-b" in one]
        sagemaker.delete_endpoint(EndpointName=name)
        for _ in range(2):
            self.world.endpoint(name)

    def _after_event(self, ended: Ended) -> Iterator[str]:
        """That production's version went away costs the comparison alone."""
        if self.event != "endpoint-deleted":
            yield from super()._after_event(ended)
            return
        if ended.exit_code:
            yield f"the result is lost: {ended.message}"
        yield from self._has_one_result("passed")
        if left := self.staged():
            yield f"left: {left}"


class Reject(_Staged):
    """The gate rejects a version."""

    name = "reject"

    def prepare(self) -> None:
        """Evaluate the second version."""
        super().prepare()
        assert self.evaluate("execution-eval").exit_code == 0

    def attack(self, execution: str) -> Ended:
        """Run the step."""
        arguments = [
            *("--release", str(self.version.file), "--model-package", self.version.arn, "--execution", execution),
            *("--evaluation", str(self.output / "evaluation.json"), "--output", str(self.folder / "rejection")),
        ]
        with self.aws.acting_as(self.version.release.environment.roles.evaluate), self.injector.calls_of("reject"):
            return run_step(reject.main, arguments, self.folder)

    def after_attack(self, ended: Ended, injection: Injection | None) -> Iterator[str]:
        """Production is untouched, and success is success."""
        yield from invariants.the_cause_is_named(ended, injection)
        yield from self.production_is_as_it_was()
        if ended.exit_code == 0:
            yield from self.after_all(ended)

    def after_all(self, ended: Ended) -> Iterator[str]:
        """The version is rejected, and the ledger says so, once for each gate."""
        if ended.exit_code:
            yield f"the run after it ended with {ended.exit_code}: {ended.message}"
        if self.package.approval_status != "Rejected":
            yield f"the version is {self.package.approval_status}"
        told = [event.by for event in self.told("rejected")]
        if len(set(told)) != len(told) or not told:
            yield f"that the version was rejected, the ledger has from {told}"


class Reap(_Staged):
    """The reaper comes for two evaluations that were killed; a third one runs."""

    name = "reap"
    living: list[str]

    def prepare(self) -> None:
        """Leave what two evaluations had, and what a third has."""
        super().prepare()
        for execution in ("execution-dead-1", "execution-dead-2"):
            self._leave(execution)
        self.let_expire()
        expired = self.staged()
        self._leave("execution-alive")
        self.living = sorted(set(self.staged()) - set(expired))

    def _set_clock(self, ahead_s: float) -> None:
        """Let the services' clock be so far ahead, and what lives and what does not be half an hour from its time by it: by this machine's clock
        it would be the other way round."""
        super()._set_clock(ahead_s)
        layer, self.aws.layer = self.aws.layer, None
        for arn in self.staged():
            self.expire(arn, self.aws.now() + (1 if arn in self.living else -1) * timedelta(minutes=30))
        self.aws.layer = layer

    def _leave(self, execution: str) -> None:
        with mock.patch("delivery.endpoint.hosting.Hosting.remove"):
            assert self.evaluate(execution).exit_code == 0

    def attack(self, execution: str) -> Ended:
        """Run one pass."""
        return self.reap("reap")

    def after_attack(self, ended: Ended, injection: Injection | None) -> Iterator[str]:
        """What lives stays; what failed once kept nothing else."""
        yield from invariants.the_cause_is_named(ended, injection)
        yield from self.production_is_as_it_was()
        if missing := set(self.living) - set(self.staged()):
            yield f"deleted though it had not expired: {sorted(missing)}"
        left = set(self.staged()) - set(self.living)
        if ended.exit_code == 0 and left:
            yield f"success, though these are left: {sorted(left)}"
        once = injection is not None and not injection.lasts and not _goes_on(injection) and not _lists(injection)
        if once and len({_owner(arn) for arn in left}) > 1:
            yield f"one call that failed once kept several: {sorted(left)}: {ended.message}"

    def after_all(self, ended: Ended) -> Iterator[str]:
        """What had expired is gone, what lives is there."""
        if ended.exit_code:
            yield f"the pass after it ended with {ended.exit_code}: {ended.message}"
        if self.staged() and sorted(self.staged()) != self.living:
            yield f"there should be {self.living}: {sorted(self.staged())}"


@contextmanager
def _load_taken_for_done() -> Iterator[None]:
    """An evaluation whose load was put on already: what is asked of AWS is all that it does."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(measure._EndpointUnderTest, "put_loads_on", _loads))
        stack.enter_context(mock.patch.object(publish, "_draw_page"))
        stack.enter_context(mock.patch.dict(sys.modules, {"great_expectations": None}))
        yield


def _loads(endpoint: Any) -> tuple[None, dict[str, ProfileRun]]:
    run = _run()
    run.baseline = _run() if endpoint._runner.baseline is not None else None
    return None, {"short": run}


def _run() -> ProfileRun:
    measurement = Measurement(0, _SECOND)
    for number in range(20):
        due = number * _SECOND // 20
        moments: Any = [due + 10_000_000 * place for place in range(1, 9)]
        measurement.add(RequestRecord(due, due, moments, moments[-1], 8, 32, finish_reason="length"))
    return ProfileRun(measurement)


def _goes_on(injection: Injection) -> bool:
    """Whether more than that call fails."""
    return injection.kind.spreads or injection.fault == "terminated"


def _lists(injection: Injection) -> bool:
    """Whether without that call nobody knows what there is of a kind."""
    return injection.call in {"sagemaker:ListEndpoints", "sagemaker:ListEndpointConfigs", "sagemaker:ListModels"}


def _owner(arn: str) -> str:
    return arn.rsplit("/", 1)[1]


SCENARIOS = (Evaluate, EvaluateBeside, Reject, Reap)
