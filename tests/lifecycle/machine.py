"""Hypothesis draws histories: who begins what, who goes on by how many calls, who is killed, what AWS refuses, which event comes when."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from delivery.errors import DeliveryError, LeaseHeld
from pipelines.errors import CommandError
from tests.faults.kinds import FAULTS
from tests.lifecycle.actors import Fault
from tests.lifecycle.paper import Engine
from tests.lifecycle.specification import Broken, History
from tests.lifecycle.world import PERSONS, Command, Execution, Verdict, Work, live

_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_FAULTS = ("denied", "500", "lost-answer")
_SAID_IN_WORDS = (DeliveryError, CommandError, ClientError, BotoCoreError)
"""What the command shows as one line (`pipelines.commands.failures`); a step shows a DeliveryError as one, and of others a traceback."""
_MOST_WORKS, _MOST_VERSIONS = 4, 6
which = st.integers(min_value=0, max_value=11)
persons = st.sampled_from(PERSONS)
comments = st.sampled_from(["", "because"])


class LifeOfVersions(RuleBasedStateMachine):
    """A model, two persons, the gate and the events."""

    steps = 0
    """How many were taken, in all histories."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life-", dir=_MEMORY))
        self.life = live(self.folder)
        self.history = History()
        self.is_broken = False

    def teardown(self) -> None:
        try:
            if not self.is_broken:
                self.settle()
                self.life.ledger.events()
        finally:
            self.life.end()
            shutil.rmtree(self.folder)

    # What begins

    @initialize(served=st.integers(min_value=0, max_value=2), waiting=st.booleans())
    def begin(self, served: int, waiting: bool) -> None:
        """Begin with versions in production, one after the other, and one that waits for a person."""
        for automatic in [True] * served + [False] * waiting:
            self.life.release("right", "passed", automatic=automatic)
            self.advance(self.life.works[-1])
        self.life.undelivered.clear()

    @precondition(lambda self: self.has_room and len(self.life.versions) < _MOST_VERSIONS)
    @rule(
        engine=st.sampled_from(["right", "right", "wrong", "crashes"]),
        verdict=st.sampled_from(["passed", "passed", "failed", "invalid"]),
        automatic=st.booleans(),
    )
    def release(self, engine: Engine, verdict: Verdict, automatic: bool) -> None:
        self.life.release(engine, verdict, automatic=automatic)

    @precondition(lambda self: self.has_room and self.life.versions)
    @rule(version=which, verdict=st.sampled_from(["passed", "failed", "invalid"]))
    def evaluate(self, version: int, verdict: Verdict) -> None:
        number = self.version(version)
        if self.life.package(number).approval_status == "PendingManualApproval":
            self.life.evaluate(number, verdict)

    @precondition(lambda self: self.has_room and self.life.versions)
    @rule(person=persons, version=which, force=st.booleans(), comment=comments)
    def approve(self, person: str, version: int, force: bool, comment: str) -> None:
        if self.is_idle(person):
            self.life.approve(person, self.version(version), force=force, comment=comment)

    @precondition(lambda self: self.has_room and self.life.versions)
    @rule(person=persons, version=which, force=st.booleans(), comment=comments)
    def reject(self, person: str, version: int, force: bool, comment: str) -> None:
        if self.is_idle(person):
            self.life.reject(person, self.version(version), force=force, comment=comment)

    @precondition(lambda self: not self.life.works and self.life.versions)
    @rule(version=which, force=st.booleans(), approves_first=st.integers(min_value=0, max_value=12))
    def quarrel(self, version: int, force: bool, approves_first: int) -> None:
        """One approves and one rejects the same version at the same time."""
        self.life.approve("ana", self.version(version), force=force, comment="because")
        if approves_first:
            self.advance(self.life.works[0], approves_first)
        self.life.reject("ben", self.version(version), force=force, comment="because not")

    @precondition(lambda self: not self.life.works and self.life.versions)
    @rule(person=persons, version=which, gate_first=st.integers(min_value=1, max_value=40))
    def forestall_the_gate(self, person: str, version: int, gate_first: int) -> None:
        """A person approves a version whose evaluation is under way, and which the gate is about to refuse."""
        self.evaluate(version, "failed")
        for work in self.life.works[:]:
            self.advance(work, gate_first)
        self.life.approve(person, self.version(version), force=True, comment="because")

    @precondition(lambda self: self.life.works and self.life.versions and self.has_room)
    @rule(work=which, calls=st.integers(min_value=1, max_value=100), person=persons, force=st.booleans())
    def change_ones_mind(self, work: int, calls: int, person: str, force: bool) -> None:
        """While somebody works, a person rejects the newest version, all at once."""
        self.advance(self.work(work), calls)
        self.reject(person, -1, force, "on second thought")
        if self.life.works and isinstance(self.life.works[-1].task, Command):
            self.advance(self.life.works[-1])

    @precondition(lambda self: not self.life.works and len(self.life.versions) < _MOST_VERSIONS)
    @rule(calls=st.integers(min_value=30, max_value=110), person=persons)
    def reject_what_is_being_promoted(self, calls: int, person: str) -> None:
        """A person rejects a version, all at once, when the policy has promoted it so far."""
        self.life.release("right", "passed", automatic=True)
        self.advance(self.life.works[0], calls)
        if self.life.versions:
            self.life.reject(person, len(self.life.versions), force=False, comment="on second thought")
            self.advance(self.life.works[-1])

    @precondition(lambda self: self.has_room and self.history.serving)
    @rule(person=persons, to=st.none() | which, force=st.booleans(), comment=comments)
    def roll_back(self, person: str, to: int | None, force: bool, comment: str) -> None:
        if self.is_idle(person):
            against = frozenset(number for number, version in self.history.versions.items() if version.against)
            self.life.roll_back(person, None if to is None else self.version(to), against, force=force, comment=comment)

    @precondition(lambda self: self.has_room and self.life.versions)
    @rule(person=persons, comment=comments)
    def retire(self, person: str, comment: str) -> None:
        if self.is_idle(person):
            self.life.retire(person, comment=comment)

    @precondition(lambda self: self.life.versions)
    @rule(version=which, status=st.sampled_from(["Approved", "Rejected"]), words=st.sampled_from(["good", "bad", "again"]))
    def decide_in_console(self, version: int, status: str, words: str) -> None:
        self.life.decide_in_console(self.version(version), status, words)

    @precondition(lambda self: self.has_room and self.life.undelivered)
    @rule(event=which, once_more=st.booleans())
    def deliver(self, event: int, once_more: bool) -> None:
        self.hand_over(event % len(self.life.undelivered), once_more=once_more)

    # What goes on

    @precondition(lambda self: self.life.works)
    @rule(work=which, calls=st.integers(min_value=1, max_value=12))
    def go_on(self, work: int, calls: int) -> None:
        self.advance(self.work(work), calls)

    @precondition(lambda self: self.life.works)
    @rule(work=which, calls=st.integers(min_value=10, max_value=90))
    def go_on_for_long(self, work: int, calls: int) -> None:
        self.advance(self.work(work), calls)

    @precondition(lambda self: self.life.works)
    @rule(work=which)
    def finish(self, work: int) -> None:
        self.advance(self.work(work))

    @precondition(lambda self: self.life.works)
    @rule(work=which)
    def kill(self, work: int) -> None:
        self.life.kill(self.work(work))

    @precondition(lambda self: self.life.works)
    @rule(work=which, calls=st.integers(min_value=0, max_value=100), fault=st.sampled_from(_FAULTS))
    def meet_a_fault(self, work: int, calls: int, fault: str) -> None:
        """One call fails, however often botocore tries it."""
        found = self.work(work)
        if calls:
            self.advance(found, calls)
        if not found.actor.is_over:
            self.advance(found, 1, lambda action, answer: FAULTS[fault].strike(action, answer, lasts=True))

    @precondition(lambda self: self.life.broken_off and self.has_room)
    @rule(work=which)
    def do_again(self, work: int) -> None:
        self.life.again(self.life.broken_off[work % len(self.life.broken_off)])

    @rule()
    def settle(self) -> None:
        """Everything comes to its end, what was broken off is done again, every event is delivered: then all must agree."""
        for _ in range(100):
            if self.life.works:
                self.advance(self.life.works[0])
            elif self.life.broken_off:
                self.life.again(self.life.broken_off[0])
            elif self.life.undelivered:
                self.hand_over(0, once_more=False)
            else:
                break
        else:
            raise Broken("it never settles: one event makes the next")
        self.judge_the_world()

    # What must hold

    @invariant()
    def the_ledger_has_what_may_happen(self) -> None:
        type(self).steps += 1
        self.learn()

    def learn(self) -> None:
        try:
            for body in self.life.written[len(self.history.events) :]:
                self.history.take(body, self.life.overruled)
        except Broken:
            self.is_broken = True
            raise

    def judge_the_world(self) -> None:
        """Production serves what the ledger says, and the registry has its last word."""
        self.learn()
        served, status = self.life.served()
        if served != self.history.serving:
            raise Broken(f"the ledger says that production serves {self.history.serving}, and it serves {served}\n{self.history}")
        if status not in ("", "InService"):
            raise Broken(f"the endpoint is {status}")
        for number, arn in enumerate(self.life.versions, start=1):
            status, said = self.life.package(number).approval_status, self.history.status(number)
            if arn not in self.life.decided_in_console and status != said:
                raise Broken(
                    f"version {number} is {status} in the registry, and the ledger's last word is {said}\n{self.history}"
                )

    def judge_what_was_told(self, work: Work) -> None:
        """Whoever's work ended was told the truth."""
        error, task = work.actor.error, work.task
        if error is not None and not isinstance(error, _SAID_IN_WORDS if isinstance(task, Command) else DeliveryError):
            raise error
        self.learn()
        if isinstance(task, Execution):
            self.judge_a_repeated_promotion(task, error)
        if isinstance(task, Execution) or task.words not in ("approve", "reject"):
            return
        kind = {"approve": "approved", "reject": "rejected"}[task.words]
        assert task.version is not None
        person = f"arn:aws:sts::123456789012:assumed-role/engineer/{task.person}"
        is_decided = self.history.decided(task.since, person, kind, task.version)
        if error is not None or not task.result.changed:
            return
        if not is_decided:
            raise Broken(
                f"{task.person} was told that version {task.version} is {kind}, and the ledger does not have it\n{self.history}"
            )
        goes_on = kind == "rejected" and self.history.serving == task.version
        if goes_on and "production goes on to serve it" not in task.result.text:
            raise Broken(f"{task.person} was not told that production serves version {task.version}\n{self.history}")

    def judge_a_repeated_promotion(self, task: Execution, error: Exception | None) -> None:
        """What is under way or done already is no failure: a false alarm would wake somebody."""
        if isinstance(error, LeaseHeld) and any(self.is_covered(task, work.task, error) for work in self.life.works):
            raise Broken(f"{task.id} promotes a version that is being promoted, and failed: {error}\n{self.history}")
        if not task.was_asked_for_before or task.ever_met_fault or isinstance(error, LeaseHeld) or self.history.is_half_changed:
            return
        version = self.history.versions[_number(task.arn)]
        if not version.promoted or not (version.verdict == "passed" or version.waived):
            return
        if self.life.package(_number(task.arn)).approval_status != "Approved":
            return  # taken back in the console, of which the ledger need not know
        refused = [
            event for event in self.history.events if event["kind"] == "refused" and event["details"].get("execution") == task.id
        ]
        if error is not None or refused:
            raise Broken(f"{task.id} promotes a version once more, and failed: {error or refused[0]}\n{self.history}")

    def is_covered(self, task: Execution, other: Execution | Command, error: LeaseHeld) -> bool:
        """Tell whether the other execution, which has the lease, promotes the same version by the same approval."""
        if not isinstance(other, Execution) or other.id not in str(error) or {task.intent, other.intent} != {"promotion"}:
            return False
        about = [event for event in self.history.events if event["version"] == _number(task.arn)]
        begun = [event["details"].get("execution") == other.id and event["kind"] == "changing" for event in about]
        return task.arn == other.arn and True in begun and "approved" not in {one["kind"] for one in about[begun.index(True) :]}

    # Short forms

    @property
    def has_room(self) -> bool:
        return len(self.life.works) < _MOST_WORKS

    def version(self, number: int) -> int:
        return number % len(self.life.versions) + 1

    def work(self, number: int) -> Work:
        return self.life.works[number % len(self.life.works)]

    def is_idle(self, person: str) -> bool:
        return not any(isinstance(work.task, Command) and work.task.person == person for work in self.life.works)

    def hand_over(self, event: int, *, once_more: bool) -> None:
        """Deliver an event, and note whether what it asks for is done, or under way, already."""
        arn = self.life.undelivered[event]
        promoted = self.history.versions.get(_number(arn))
        task = self.life.deliver(event, once_more=once_more)
        task.was_asked_for_before = promoted is not None and promoted.promoted

    def advance(self, work: Work, calls: int | None = None, fault: Fault | None = None) -> None:
        self.life.go_on(work, calls, fault)
        if work.actor.is_over:
            self.judge_what_was_told(work)


def _number(arn: str) -> int:
    return int(arn.rsplit("/", 1)[1])
