"""Does the cases: each in a process of its own, forked from one in which its scenario is prepared."""

from __future__ import annotations

import gc
import io
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.faults import plan
from tests.faults.plan import Case
from tests.faults.scenario import Scenario
from tests.faults.scenarios import SCENARIOS
from tests.support.virtual_time import virtual_time

_FORK = get_context("fork")
_FIRST, _OTHER = "execution-first", "execution-other"
_EXPIRED_S = 7200.0  # whatever lease or credential there was
_HANG_S = 600.0


@dataclass(frozen=True)
class Result:
    """What became of one case."""

    case: Case
    problems: list[str]
    """What was lost; empty: it survived."""


@contextmanager
def prepared(name: str) -> Iterator[Scenario]:
    """A scenario whose account is as it is before the attack."""
    with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as folder, virtual_time() as clock:
        own = Path(folder, "prepared")
        own.mkdir()
        scenario = SCENARIOS[name](own, clock)
        try:
            with redirect_stdout(io.StringIO()):
                scenario.prepare()
            gc.freeze()
            yield scenario
        finally:
            scenario.close()


def planned(name: str) -> list[Case]:
    """Every case of a scenario, by the calls that it makes without a fault; without one it must be survived, too."""
    with prepared(name) as scenario, redirect_stdout(io.StringIO()):
        ended = scenario.attack(_FIRST)
        record = scenario.injector.record
        problems = [*scenario.after_attack(ended, None), *scenario.after_all(ended)]
    assert not problems, f"{name} fails without a fault: {'; '.join(problems)}"
    return plan.cases(name, record, scenario.moments)


def run(scenario: Scenario, cases: Iterable[Case], processes: int) -> Iterator[Result]:
    """Do the cases, so many at once."""
    waiting, running = list(reversed(list(cases))), dict[Any, tuple[Case, _Child]]()
    while waiting or running:
        while waiting and len(running) < processes:
            case = waiting.pop()
            child = _in_child(lambda case=case: examine(scenario, case))  # type: ignore[misc]
            running[child.answer] = case, child
        ready = connection.wait(list(running), timeout=_HANG_S)
        for answer in ready or list(running):
            case, child = running.pop(answer)
            found = child.wait() if ready else child.kill()
            yield Result(case, [found] if isinstance(found, str) else found)


def examine(scenario: Scenario, case: Case) -> list[str]:
    """Do one case in this process; what was lost."""
    own = Path(tempfile.mkdtemp(dir=scenario.folder.parent))  # others are at work in what was prepared
    scenario.folder = shutil.copytree(scenario.folder, own, dirs_exist_ok=True)
    scenario.injector.injection = case.injection
    ended = scenario.attack(_FIRST)
    if not scenario.injector.struck:
        return ["the call to fail was never made: the code has changed since this case was planned"]
    scenario.end_of_fault()
    problems = [f"after it: {problem}" for problem in scenario.after_attack(ended, case.injection)]
    if case.again == "other":
        scenario.clock.pass_by(_EXPIRED_S)
    ended = scenario.again(_FIRST if case.again == "same" else _OTHER)
    return problems + [f"after the next run: {problem}" for problem in scenario.after_all(ended)]


@dataclass(frozen=True)
class _Child:
    process: BaseProcess
    answer: Connection

    def wait(self) -> Any:
        try:
            return self.answer.recv()
        except EOFError:
            return f"the process ended with {self.process.exitcode} and no answer"
        finally:
            self.process.join()

    def kill(self) -> str:
        self.process.kill()
        self.process.join()
        return f"it hung for more than {_HANG_S:g} s"


def _in_child(work: Callable[[], Any]) -> _Child:
    ours, theirs = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_answer, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Child(process, ours)


def _answer(work: Callable[[], Any], answer: Connection) -> None:
    try:
        with redirect_stdout(io.StringIO()):
            answer.send(work())
    except BaseException:  # noqa: BLE001  (whatever it is, it is this case's result)
        answer.send(f"the harness failed: {traceback.format_exc()}")
    finally:
        answer.close()
        os._exit(0)  # no clean-up of what the parent has
