"""Whether a test notices small faults in the code that decides: `make mutants`, `ARGS="config.updates --all"` for one module, whole.

Each module is tried against its own unit tests only. One process imports every library once; each mutant is a fork of it, in which the
module's source is the faulty one, so that it costs its tests' time and nothing else. At most 60 mutants a module, evenly spread over it,
unless `--all`: that is some ten minutes on two idle cores. A mutant that no test notices is printed with its line; some are no faults
(another constant that means the same), the others want a test.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType

import botocore.session
import pytest

from tooling.install import ROOT
from tooling.mutations import Mutant, mutants_of

TESTS: dict[str, list[str]] = {
    "config.updates": ["tests/config/test_updates.py"],
    "delivery.endpoint.lease": ["tests/delivery/endpoint"],
    "delivery.history.decisions": ["tests/delivery/history"],
    "delivery.history.registry_decisions": ["tests/delivery/history"],
    "delivery.history.ledger": ["tests/delivery/history"],
    "delivery.history.rollback_target": ["tests/delivery/history"],
    "delivery.history.serving_history": ["tests/delivery/history"],
    "delivery.registry.verification": ["tests/delivery/registry"],
    "loadtest.measurement.confidence": ["tests/loadtest/test_confidence.py", "tests/loadtest/test_measurement.py"],
    "loadtest.measurement.scoring": ["tests/loadtest/test_measurement.py", "tests/loadtest/test_percentiles.py"],
}
"""Module → the tests that must notice."""
AT_MOST = 60
"""Mutants of a module, unless all are asked for."""
_LIBRARIES = ("botocore.validate", "hypothesis", "numpy", "pydantic", "pyarrow", "yaml", "tests.conftest")
"""What is imported before the first fork; nothing that a mutant may replace."""
_HUNG_FACTOR = 5.0
_HEARTBEAT_S = 15.0
_OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout"]


@dataclass
class Score:
    """What became of a module's mutants."""

    module: str
    of: int
    """How many there are."""
    killed: int = 0
    survived: list[Mutant] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How many were tried."""
        return self.killed + len(self.survived)


class _Faulty(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Loads one module from other source than its file's."""

    def __init__(self, module: str, source: str) -> None:
        self._module, self._source = module, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for that module alone."""
        if fullname != self._module:
            return None
        return importlib.util.spec_from_file_location(fullname, _file(fullname), loader=self)

    def get_source(self, fullname: str) -> str:
        """Return the faulty source."""
        return self._source

    def get_code(self, fullname: str) -> CodeType:
        """Compile the faulty source."""
        return compile(self._source, _file(fullname), "exec")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants of every module, or of those named; return 1 if a module's tests fail without any fault."""
    parser = argparse.ArgumentParser(prog="python -m tooling.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", choices=[*TESTS, []], metavar="MODULE", help=f"of {', '.join(TESTS)}")
    parser.add_argument("--at-most", type=int, default=AT_MOST, metavar="N", help="mutants of a module (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="every mutant of a module")
    given = parser.parse_args(arguments)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # each fork starts pytest anew
    for library in _LIBRARIES:
        importlib.import_module(library)
    botocore.session.get_session().get_service_model("sagemaker")  # parsed once: tests.conftest shares it
    scores = []
    for module in given.modules or TESTS:
        begun = time.monotonic()
        if _run(module, None, timeout_s=600.0) != 0:
            print(f"{module}: its tests fail without any fault: pytest {' '.join(TESTS[module])}")
            return 1
        score = _try(
            module, sys.maxsize if given.all else given.at_most, timeout_s=5.0 + _HUNG_FACTOR * (time.monotonic() - begun)
        )
        scores.append(score)
        print(f"{module}: {score.killed} of {score.tried} killed, {time.monotonic() - begun:.0f} s", flush=True)
        for mutant in score.survived:
            print(f"  {_file(module).relative_to(ROOT)}:{mutant.line}: {mutant.what}", flush=True)
    _print_table(scores)
    return 0


def _try(module: str, at_most: int, timeout_s: float) -> Score:
    """Try a module's mutants, as many at a time as there are cores."""
    mutants = list(mutants_of(_file(module).read_text(encoding="utf-8")))
    step = max(1.0, len(mutants) / at_most)
    chosen = iter([mutants[int(number * step)] for number in range(min(len(mutants), at_most))])
    score = Score(module, len(mutants))
    shown = time.monotonic()
    for mutant, was_noticed in _in_parallel(module, chosen, timeout_s):
        if time.monotonic() > shown + _HEARTBEAT_S:
            shown = time.monotonic()
            print(f"  … {module}: {score.tried} tried, {score.killed} killed", file=sys.stderr, flush=True)
        if was_noticed:
            score.killed += 1
        else:
            score.survived.append(mutant)
    score.survived.sort(key=lambda mutant: mutant.line)
    return score


def _in_parallel(module: str, mutants: Iterator[Mutant], timeout_s: float) -> Iterator[tuple[Mutant, bool]]:
    running: dict[int, tuple[Mutant, float]] = {}
    while True:
        while len(running) < (os.cpu_count() or 1) and (mutant := next(mutants, None)):
            running[_fork(module, mutant.source)] = (mutant, time.monotonic() + timeout_s)
        if not running:
            return
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            yield running.pop(pid)[0], os.waitstatus_to_exitcode(status) != 0
            continue
        for late, (_, deadline) in running.items():
            if time.monotonic() > deadline:
                os.killpg(late, signal.SIGKILL)  # hung: noticed; waitpid collects it
        time.sleep(0.01)


def _run(module: str, source: str | None, *, timeout_s: float) -> int:
    """Run a module's tests in a fork; return pytest's exit code."""
    pid = _fork(module, source)
    deadline = time.monotonic() + timeout_s
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.02)


def _fork(module: str, source: str | None) -> int:
    """Start a module's tests in a process of their own, with that source in place of its file's; return its id."""
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    if source is not None:
        sys.meta_path.insert(0, _Faulty(module, source))
    code = 1
    try:
        code = int(pytest.main([*_OPTIONS, *TESTS[module]]))
    finally:
        os._exit(code)


def _file(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


def _print_table(scores: list[Score]) -> None:
    print(f"\n{'module':36} {'mutants':>7} {'tried':>6} {'killed':>7} {'survived':>9}")
    total = Score("all", sum(score.of for score in scores))
    for score in scores:
        total.killed += score.killed
        total.survived += score.survived
    for score in [*scores, total]:
        print(f"{score.module:36} {score.of:7} {score.tried:6} {score.killed:7} {len(score.survived):9}")


if __name__ == "__main__":
    sys.exit(main())
