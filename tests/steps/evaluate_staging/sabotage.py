"""The evaluation step, ended at a chosen point in a chosen way: `python -m tests.steps.evaluate_staging.sabotage`.

Its arguments are two files: a JSON list of cases, and where the list of their exit codes goes. Each case is one start of the step in a
process of its own: forked, so that a start costs no imports.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from delivery.endpoint import prompt_checks
from delivery.endpoint.hosting import Hosting
from delivery.job import frame
from delivery.registry import model_packages
from loadtest.generator.worker_pool import WorkerPool
from steps.evaluate_staging import __main__ as evaluate_staging
from steps.evaluate_staging import measure, report, verdicts

Act = Literal["exception", "SIGTERM", "SIGKILL"]
_AT_ONCE = 3


@dataclass(frozen=True)
class Case:
    """One start of the step."""

    phase: str
    act: Act
    arguments: list[str]
    log: str
    """The file that gets what it writes."""


def _do(act: Act) -> None:
    """End this process, or begin to."""
    if act == "exception":
        raise RuntimeError("sabotaged")
    os.kill(os.getpid(), getattr(signal, act))


def _before(owner: Any, name: str, act: Act) -> None:
    """Act when `owner.name` is called, then go on with it if there is anybody left."""
    original = getattr(owner, name)

    def sabotaged(*given: Any, **named: Any) -> Any:
        setattr(owner, name, original)
        _do(act)
        return original(*given, **named)

    setattr(owner, name, sabotaged)


def _after(owner: Any, name: str, act: Act) -> None:
    """Act when `owner.name` has done its work."""
    original = getattr(owner, name)

    def sabotaged(*given: Any, **named: Any) -> Any:
        setattr(owner, name, original)
        result = original(*given, **named)
        _do(act)
        return result

    setattr(owner, name, sabotaged)


def _when(owner: Any, name: str, words: str, act: Act) -> None:
    """Act when `owner.name` is called with a text that has these words."""
    original = getattr(owner, name)

    def sabotaged(text: str) -> None:
        original(text)
        if words in text:
            setattr(owner, name, original)
            _do(act)

    setattr(owner, name, sabotaged)


PHASES: dict[str, Callable[[Act], None]] = {
    "between model and endpoint": lambda act: _after(Hosting, "define", act),
    "endpoint created": lambda act: _after(Hosting, "create", act),
    "waiting for it": lambda act: _before(Hosting, "wait", act),
    "prompt_checks": lambda act: _before(prompt_checks, "ask_all", act),
    "warm-up": lambda act: _when(measure, "progress", "warming up", act),
    "load": lambda act: _when(measure, "progress", "s left", act),
    "load over": lambda act: _after(WorkerPool, "measure", act),
    "deletion": lambda act: _before(Hosting, "_delete_when_allowed", act),
    "endpoint deleted": lambda act: _after(Hosting, "_delete_when_allowed", act),
    "scoring": lambda act: _before(verdicts, "judge", act),
    "report": lambda act: _before(report, "render", act),
    "publishing": lambda act: _before(model_packages, "annotate", act),
}
"""Where the step can be ended. Everything from `scoring` on comes after the endpoint's deletion."""


def _child(case: Case) -> int:
    log = os.open(case.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    PHASES[case.phase](case.act)
    return frame.main(evaluate_staging.main, case.arguments)


def main() -> None:
    """Run every case; at most so many at once."""
    cases = [Case(**case) for case in json.loads(Path(sys.argv[1]).read_text())]
    running: dict[int, int] = {}
    codes: dict[int, int] = {}

    def one_ends() -> None:
        pid, status = os.wait()
        codes[running.pop(pid)] = os.waitstatus_to_exitcode(status)

    for number, case in enumerate(cases):
        while len(running) >= _AT_ONCE:
            one_ends()
        pid = os.fork()
        if pid == 0:
            os._exit(_child(case))
        running[pid] = number
    while running:
        one_ends()
    Path(sys.argv[2]).write_text(json.dumps([codes[number] for number in range(len(cases))]))


if __name__ == "__main__":
    main()
