"""What people decide, by the command or in the console, and the events that follow: approve, reject, VerifyApproval, late and repeated events."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import NoReturn
from unittest import mock

from delivery.history import decisions
from delivery.registry import model_packages
from pipelines import released_model, run
from steps.verify_approval import __main__ as verify
from steps.verify_approval.models import Approval
from tests.faults import invariants
from tests.faults.injector import Injection
from tests.faults.kinds import Killed
from tests.faults.scenario import Ended, Scenario, run_step
from tests.faults.scenarios.promotions import Promotion
from tests.support.worlds.evaluation import BUCKET
from tests.support.worlds.promotion import PromotionWorld, Version

_NAME = "chat"
_PERSON = "arn:aws:iam::123456789012:role/engineer"


class _Decided(Scenario):
    """The first version in production; the second passed and waits."""

    version: Version
    status = ""
    """What the registry is to say in the end."""

    @property
    def world(self) -> PromotionWorld:
        """The account, and short forms of what is done with it."""
        return PromotionWorld(self.aws, self.folder)

    def prepare(self) -> None:
        """Promote the first version, evaluate the second."""
        self.world.serve(self.world.version(_NAME))
        self.version = self.world.version(_NAME, status="PendingManualApproval")

    def command(self, *arguments: str) -> Ended:
        """Run the command as a person."""
        written = io.StringIO()
        code: object = 0
        before = signal.signal(signal.SIGTERM, _die)  # the command has no handler of its own
        with (
            self.aws.acting_as(_PERSON),
            mock.patch.object(released_model, "attach"),
            mock.patch.object(sys, "argv", ["run", *arguments]),
            redirect_stdout(written),
            redirect_stderr(written),
            self.injector.calls_of(arguments[0]),
        ):
            try:
                run.main()
            except SystemExit as ended:
                code = ended.code or 0
            except Killed:
                code = invariants.KILLED
            finally:
                signal.signal(signal.SIGTERM, before)
        text = written.getvalue()
        return Ended(code if isinstance(code, int) else 1, text[text.find("error: ") :] if "error: " in text else text, text)

    def after_attack(self, ended: Ended, injection: Injection | None) -> Iterator[str]:
        """Production is untouched, and success is success."""
        yield from invariants.the_cause_is_named(ended, injection)
        now = invariants.serving(self.world, self.version)
        yield from invariants.in_service(now, 1)
        if ended.exit_code == 0:
            yield from self.after_all(ended)

    def after_all(self, ended: Ended) -> Iterator[str]:
        """Registry and ledger say what was decided."""
        if ended.exit_code:
            yield f"the run after it ended with {ended.exit_code}: {ended.message}"
        status = model_packages.read(self.aws.client("sagemaker"), self.version.arn).approval_status
        last = decisions.last_decision(self.world.events(self.version), self.version.number)
        if (status, last and last.kind) != (self.status, self.status.lower()):
            yield f"the registry says {status}, the ledger {last and last.kind}"


def _die(*_: object) -> NoReturn:
    raise Killed


class Approve(_Decided):
    """A person approves with the command."""

    name, status = "approve", "Approved"

    def attack(self, execution: str) -> Ended:
        """Run the command."""
        return self.command("approve", _NAME, str(self.version.number), "--env", "local", "--comment", "good numbers")


class PersonRejects(_Decided):
    """A person rejects with the command."""

    name, status = "person-rejects", "Rejected"

    def attack(self, execution: str) -> Ended:
        """Run the command."""
        return self.command("reject", _NAME, str(self.version.number), "--env", "local", "--comment", "too slow")


class ConsoleApproval(_Decided):
    """A person approved in the console; the event starts VerifyApproval."""

    name, status = "verify-approval", "Approved"

    def prepare(self) -> None:
        """Approve the second version in the registry alone."""
        super().prepare()
        model_packages.approve(self.aws.client("sagemaker"), self.version.arn, "in the console")

    def attack(self, execution: str) -> Ended:
        """Run the step."""
        arguments = ["--model-package", self.version.arn, "--bucket", BUCKET, "--execution", execution]
        with self.aws.acting_as(self.version.release.environment.roles.promote), self.injector.calls_of("verify_approval"):
            return run_step(verify.main, [*arguments, "--output", str(self.folder / "approval")], self.folder)

    def after_all(self, ended: Ended) -> Iterator[str]:
        """It may be promoted, and the ledger has the approval once."""
        yield from super().after_all(ended)
        if ended.exit_code:
            return
        approval = Approval.model_validate_json((self.folder / "approval" / "approval.json").read_bytes())
        if not approval.approved:
            yield f"it is not approved: {approval.reason}"
        told = [event for event in self.world.events(self.version) if event.kind == "approved"]
        if len(told) != 1:
            yield f"the ledger has the approval {len(told)} times"


class RepeatedEvent(Promotion):
    """The event of an approval comes again, after its promotion."""

    name, before = "repeated-event", 2

    def prepare(self) -> None:
        """Promote two versions."""
        self.world.serve(self.make())
        self.version = self.make()
        self.world.serve(self.version)


class OldEvent(Promotion):
    """The event of version 2 comes after version 3 was promoted."""

    name, good, before = "old-event", False, 3

    def prepare(self) -> None:
        """Promote the first and the third version."""
        self.world.serve(self.make())
        self.version = self.make()
        self.world.serve(self.make())


class EventAfterRollback(Promotion):
    """The event of version 2 comes after production was rolled back from it, and somebody approved it in the console once more."""

    name, good, before = "event-after-rollback", False, 1

    def prepare(self) -> None:
        """Promote two versions, go back to the first, approve the second."""
        first = self.make()
        self.world.serve(first)
        self.version = self.make()
        self.world.serve(self.version)
        self.world.serve(first, intent="rollback")
        model_packages.approve(self.aws.client("sagemaker"), self.version.arn, "in the console")


SCENARIOS = (Approve, PersonRejects, ConsoleApproval, RepeatedEvent, OldEvent, EventAfterRollback)
