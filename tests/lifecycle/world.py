"""An account, one model, and what may be done to it: releases, decisions of persons, events, promotions. The code that works is the project's.

What a release does before its gate is on paper here, as in `tests.support.worlds.promotion`: bytes and tokens are not what this is about.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast
from unittest import mock

from config.environment import Environment
from config.schema import Release
from delivery.aws import s3
from delivery.endpoint.hosting import Hosting
from delivery.history import ledger
from delivery.history.ledger import Ledger
from delivery.job import frame
from delivery.names import NOT_GIVEN, RELEASE_FILE, Fact
from delivery.registry import model_packages
from pipelines.commands.versions import approve, production_change, reject, retire, rollback
from pipelines.executions.execution import Executions
from pipelines.released_model import ReleasedModel
from steps.promote import step as promote_step
from steps.promote.models import PromotionArguments
from steps.reject import step as rejection
from steps.verify_approval import step as verification
from steps.verify_approval.models import VerificationArguments
from tests.lifecycle import actors, paper
from tests.lifecycle.actors import Actor, Fault, Stage
from tests.lifecycle.paper import MODEL
from tests.support.fake_aws import FakeAws
from tests.support.worlds.evaluation import BUCKET

_EVENT = re.compile(rf"releases/{MODEL}/\d{{8}}\.json")
PERSONS = ("ana", "ben")
CONSOLE = "arn:aws:iam::123456789012:user/console"
Verdict = Literal["passed", "failed", "invalid"]
Intent = Literal["promotion", "rollback", "retirement"]


@dataclass
class Execution:
    """One execution of a pipeline: its steps one after the other, each an own process on AWS."""

    id: str
    steps: list[Callable[[], None]]
    at: int = 0
    """The step that it is at: where it goes on when it is retried."""
    intent: Intent = "promotion"
    by: str = NOT_GIVEN
    arn: str = ""
    """The version that it promotes, goes back to, or retires."""
    ever_met_fault: bool = False
    """Whether that happened to it in any of its tries."""
    was_asked_for_before: bool = False
    """Whether the version was promoted already when it began, or was being promoted, by the same approval."""

    def work(self) -> None:
        """Do the steps from where it is."""
        while self.at < len(self.steps):
            ledger._verified.clear()  # each step is a process
            self.steps[self.at]()
            self.at += 1


@dataclass
class Command:
    """A command of a person."""

    person: str
    words: str
    """Its name."""
    version: int | None
    since: int
    """How many events the ledger had when it began."""
    against: frozenset[int] = frozenset()
    """The versions that somebody was against when it began."""
    force: bool = False
    comment: str = ""
    result: Any = None


@dataclass
class Work:
    """An actor, and what it does."""

    actor: Actor
    task: Execution | Command
    again: Callable[[], Work]
    """Starts the same once more, after it was killed."""
    met_fault: bool = False
    """Whether a call of it failed, or it was killed."""


@dataclass
class Life:
    """The model, everything that is under way, and what EventBridge has not delivered yet."""

    folder: Path
    stage: Stage = field(default_factory=Stage)
    works: list[Work] = field(default_factory=list)
    """What is under way."""
    broken_off: list[Work] = field(default_factory=list)
    """What was killed, or failed with a fault, and was not done again."""
    undelivered: list[str] = field(default_factory=list)
    """Versions whose approval EventBridge has to tell of, as ARNs; one a change."""
    versions: list[str] = field(default_factory=list)
    """Their ARNs; version 1 is the first."""
    decided_in_console: set[str] = field(default_factory=set)
    """Versions about which the console had the last word: the ledger learns of it only when somebody wants to promote them."""
    overruled: dict[str, int] = field(default_factory=dict)
    """The execution of a rollback → the last event up to which a rejection of the version that it returns to does not count: the ledger's
    last one when it was started, where a person forced it with a comment; else when the command began; none where somebody was against it then."""
    written: list[bytes] = field(default_factory=list)
    """The ledger's events, as they came into the bucket."""

    def __post_init__(self) -> None:
        self.aws = FakeAws(layer=self._through, now=self.stage.now)
        self._ids = (f"e{number:07d}" for number in itertools.count(1))
        self.environment = paper.environment()
        for key, body in paper.stored().items():
            self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumAlgorithm="CRC64NVME")
        self.client("sagemaker").create_model_package_group(ModelPackageGroupName=f"release-{MODEL}")

    def client(self, service: str) -> Any:
        """Return a client of a service, for whoever asks."""
        return self.aws.client(service)

    @property
    def ledger(self) -> Ledger:
        """The model's ledger."""
        return Ledger(self.client("s3"), BUCKET, MODEL)

    def served(self) -> tuple[int | None, str]:
        """Return the version that production serves now, by the tag of its endpoint config, and the endpoint's status; None: no endpoint."""
        hosting = Hosting(self.client("sagemaker"), self.client("logs"))
        found = hosting.state(MODEL)
        return (None, "") if found is None else (hosting.version_of(found.config), found.status)

    def package(self, version: int) -> model_packages.ModelPackage:
        """Read a version."""
        return model_packages.read(self.client("sagemaker"), self.versions[version - 1])

    # What begins

    def release(self, engine: paper.Engine, verdict: Verdict, *, automatic: bool) -> None:
        """Release the model file: a version that behaves so in production, and is judged so before it."""
        release = paper.releases()[engine]
        execution = Execution(next(self._ids), [])
        execution.steps += [
            lambda: self._fetch(execution),
            lambda: self._register(release, execution, verdict, automatic=automatic),
        ]
        self._begin("release", execution)

    def evaluate(self, version: int, verdict: Verdict) -> None:
        """Evaluate a version once more: the command `evaluate` starts an execution of its release pipeline's last steps."""
        release, arn = self._release_of(version), self.versions[version - 1]
        execution = Execution(next(self._ids), [])
        execution.steps.append(lambda: self._evaluate(release, execution, arn, verdict, automatic=False))
        self._begin("evaluation", execution)

    def approve(self, person: str, version: int, *, force: bool, comment: str) -> None:
        """`approve chat VERSION`."""
        command = self._command(person, "approve", version, force=force, comment=comment)
        self._do(command, lambda: approve.approve(MODEL, "local", version, comment, force=force))

    def reject(self, person: str, version: int, *, force: bool, comment: str) -> None:
        """`reject chat VERSION`."""
        command = self._command(person, "reject", version, force=force, comment=comment)
        self._do(command, lambda: reject.reject(MODEL, "local", version, comment, force=force))

    def roll_back(self, person: str, to: int | None, against: frozenset[int], *, force: bool, comment: str) -> None:
        """`rollback chat`, when somebody is against these versions."""
        command = self._command(person, "rollback", to, against=against, force=force, comment=comment)
        self._do(command, lambda: rollback.rollback(MODEL, "local", to, comment, force=force, follow=False, as_json=True))

    def retire(self, person: str, *, comment: str) -> None:
        """`retire chat`."""
        command = self._command(person, "retire", None, comment=comment)
        self._do(command, lambda: retire.retire(MODEL, "local", comment, yes=True, follow=False, as_json=True))

    def decide_in_console(self, version: int, status: str, words: str) -> None:
        """Change the approval status in SageMaker Studio: nothing of ours is asked."""
        self.client("sagemaker").update_model_package(
            ModelPackageArn=self.versions[version - 1], ModelApprovalStatus=status, ApprovalDescription=words
        )
        self.decided_in_console.add(self.versions[version - 1])

    def deliver(self, which: int, *, once_more: bool) -> Execution:
        """Deliver an event: EventBridge keeps no order, and delivers at least once. Returns the promotion that it starts."""
        arn = self.undelivered[which] if once_more else self.undelivered.pop(which)
        return self._promotion(arn)

    # What goes on

    def go_on(self, work: Work, calls: int | None = None, fault: Fault | None = None) -> None:
        """Let somebody go on, by so many calls or to the end. Whoever fails by a fault does it again later."""
        if fault is not None:
            self._meet_fault(work)
        work.actor.go_on(fault=fault) if calls is None else work.actor.go_on(calls, fault)
        if work.actor.is_over:
            self.works.remove(work)
            if work.actor.error is not None and work.met_fault:
                self.broken_off.append(work)

    def kill(self, work: Work) -> None:
        """End somebody's process."""
        self._meet_fault(work)
        work.actor.kill()
        self.works.remove(work)
        self.broken_off.append(work)

    def again(self, work: Work) -> None:
        """Do once more what was broken off: SageMaker retries a step, a person repeats a command."""
        self.broken_off.remove(work)
        self.works.append(work.again())

    @staticmethod
    def _meet_fault(work: Work) -> None:
        work.met_fault = True
        if isinstance(work.task, Execution):
            work.task.ever_met_fault = True

    def end(self) -> None:
        """End every actor's thread."""
        for work in self.works:
            work.actor.kill()

    # How it works

    def _through(self, call: dict[str, Any], answer: Callable[[], Any]) -> Any:
        match call:
            case {"action": "UpdateModelPackage"}:
                return self.stage.through(call, lambda: self._change_package(call, answer))
            case {"action": "PutObject", "parameters": {"Key": key}} if _EVENT.fullmatch(key):
                return self.stage.through(call, lambda: self._write_event(call, answer))
        return self.stage.through(call, answer)

    def _write_event(self, call: dict[str, Any], answer: Callable[[], Any]) -> Any:
        result = answer()
        self.written.append(call["parameters"]["Body"])
        return result

    def _change_package(self, call: dict[str, Any], answer: Callable[[], Any]) -> Any:
        """Change a version, keep who did, and tell EventBridge where it is approved then: every change of an approved one is an event."""
        result = answer()
        arn = call["parameters"]["ModelPackageArn"]
        package = self.aws.sagemaker.package(arn)
        package["LastModifiedBy"] = {"IamIdentity": {"Arn": self._who(), "PrincipalId": "AIDA"}}
        if "ModelApprovalStatus" in call["parameters"]:
            self.decided_in_console.discard(arn)
        if package["ModelApprovalStatus"] == "Approved":
            self.undelivered.append(arn)
        return result

    def _who(self) -> str:
        if self.stage.current is None:
            return CONSOLE
        task = next(work.task for work in self.works if work.actor is self.stage.current)
        return _arn(task.person) if isinstance(task, Command) else f"arn:aws:sts::123456789012:assumed-role/promote/{task.id}"

    def caller(self, _: Environment) -> str:
        """Return the ARN of whose turn it is."""
        return self._who()

    def open_model(self, *_: str) -> ReleasedModel:
        """Open the model as the commands do, whose file nobody reads."""
        return ReleasedModel(MODEL, "local", self.environment, None, self.client("sagemaker"), self.client("s3"))

    def start_pipeline(self, _pipeline: str, parameters: dict[str, str]) -> str:
        """Start the promotion pipeline, as a command does; returns the execution."""
        assert self.stage.current is not None
        task = next(work.task for work in self.works if work.actor is self.stage.current)
        assert isinstance(task, Command)
        intent = cast("Intent", parameters["Intent"])
        seen = None if parameters["LedgerSeen"] == NOT_GIVEN else int(parameters["LedgerSeen"])
        execution = self._promotion(parameters["ModelPackageArn"], intent, parameters["RequestedBy"], parameters["Comment"], seen)
        if task.force and task.comment:
            self.overruled[execution.id] = len(self.written)
        elif _number(execution.arn) not in task.against:
            self.overruled[execution.id] = task.since
        return execution.id

    def _begin(self, name: str, task: Execution) -> None:
        self.works.append(self._work(f"{name} {task.id}", task, task.work))

    def _work(self, name: str, task: Execution | Command, work: Callable[[], Any]) -> Work:
        return Work(Actor(self.stage, name, work), task, lambda: self._work(name, task, work))

    def _command(self, person: str, words: str, version: int | None, **more: Any) -> Command:
        return Command(person, words, version, len(self.written), **more)

    def _do(self, command: Command, work: Callable[[], Any]) -> None:
        def working() -> None:
            command.result = work()

        self.works.append(self._work(f"{command.person} {command.words}s", command, working))

    def _promotion(
        self, arn: str, intent: Intent = "promotion", by: str = NOT_GIVEN, comment: str = NOT_GIVEN, seen: int | None = None
    ) -> Execution:
        execution = Execution(next(self._ids), [], intent=intent, by=by, arn=arn)
        execution.steps.append(lambda: self._verify(execution, arn, comment, seen))
        self._begin(intent, execution)
        return execution

    def _verify(self, execution: Execution, arn: str, comment: str, seen: int | None) -> None:
        intent, folder = execution.intent, self.folder / execution.id
        approval = verification.run(VerificationArguments(arn, BUCKET, intent, folder, execution.id))
        if approval.approved:
            release = frame.read_release(folder / RELEASE_FILE)
            execution.steps.append(
                lambda: self._promote(
                    PromotionArguments(release, arn, execution.id, "manual", folder, intent, execution.by, comment, seen)
                )
            )

    def _promote(self, arguments: PromotionArguments) -> None:
        promote_step.run(arguments)

    def _fetch(self, execution: Execution) -> None:
        self.ledger.append_once("fetched", by=execution.id)

    def _register(self, release: Release, execution: Execution, verdict: Verdict, *, automatic: bool) -> None:
        """RegisterModel is SageMaker's own work: it happens, or does not."""
        self.stage.sleep(0)
        before, self.stage.current = self.stage.current, None
        arn = self.client("sagemaker").create_model_package(**paper.package_request(release))["ModelPackageArn"]
        self.stage.current = before
        self.versions.append(arn)
        execution.arn = arn
        execution.steps.append(lambda: self._evaluate(release, execution, arn, verdict, automatic=automatic))

    def _evaluate(self, release: Release, execution: Execution, arn: str, verdict: Verdict, *, automatic: bool) -> None:
        """What EvaluateStaging leaves, and where the gate goes on from there."""
        version = int(arn.rsplit("/", 1)[1])
        self.ledger.append_once("registered", by=execution.id, version=version, model_package=arn)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        report = json.dumps({"verdict": verdict, "model_package": arn, "evaluated_at": at, "summary": "on paper"}).encode()
        key = f"evaluations/{MODEL}/{execution.id}/evaluation.json"
        s3.write_json(self.client("s3"), s3.S3Uri(BUCKET, key), report)
        facts = {
            Fact.EVALUATION_REPORT: f"s3://{BUCKET}/{key}",
            Fact.EVALUATION_SHA256: hashlib.sha256(report).hexdigest(),
            Fact.EVALUATION_VERDICT: verdict,
            Fact.EVALUATED_AT: at,
        }
        model_packages.annotate(self.client("sagemaker"), arn, {str(name): value for name, value in facts.items()})
        self.ledger.append_once(
            "evaluated", by=execution.id, version=version, model_package=arn, details={"verdict": verdict, "report": key}
        )
        folder = self.folder / execution.id
        if verdict == "failed":
            evaluation = self.folder / f"{execution.id}-evaluation.json"
            evaluation.write_bytes(report)
            execution.steps.append(lambda: cast(None, rejection.run(release, arn, execution.id, evaluation, folder)))
        elif verdict == "passed" and automatic:
            execution.steps.append(lambda: self._promote(PromotionArguments(release, arn, execution.id, "automatic", folder)))

    def _release_of(self, version: int) -> Release:
        location = self.package(version).facts[Fact.RELEASE_FILE]
        return next(release for release in paper.releases().values() if release.sha256 in location)


def _number(arn: str) -> int:
    return int(arn.rsplit("/", 1)[1])


def _arn(person: str) -> str:
    return f"arn:aws:sts::123456789012:assumed-role/engineer/{person}"


class _Lives:
    """The life that is lived now: what is patched once for many of them asks here."""

    now: Life


def live(folder: Path) -> Life:
    """Begin a new life, which the project's clients and commands are about from now on."""
    life = Life(folder)
    actors.play_on(life.stage)
    _Lives.now = life
    return life


@contextmanager
def commands_and_steps() -> Iterator[None]:
    """Let the project's commands and steps work on the life that is lived now, in virtual time."""

    def client(service: str, *_: Any, **__: Any) -> Any:
        return _Lives.now.client(service)

    def start(_: Executions, name: str, parameters: dict[str, str], *__: Any, **___: Any) -> str:
        return _Lives.now.start_pipeline(name, parameters)

    session = mock.Mock(client=client)
    with ExitStack() as patched:
        patched.enter_context(actors.virtual_time())
        patched.enter_context(mock.patch("boto3.client", client))
        patched.enter_context(mock.patch("boto3.Session", lambda *_, **__: session))
        for name, instead in {"__init__": lambda *_: None, "takes": lambda *_: True, "start": start}.items():
            patched.enter_context(mock.patch.object(Executions, name, instead))
        for command in (approve, reject, retire, rollback):
            patched.enter_context(mock.patch.object(command, "open_model", lambda *names: _Lives.now.open_model(*names)))
        for module in (approve, reject, production_change):
            patched.enter_context(mock.patch.object(module, "caller", lambda environment: _Lives.now.caller(environment)))
        yield
