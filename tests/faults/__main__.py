"""`python -m tests.faults [SCENARIO | CASE …] [--sample N] [--whole N] [--seed S] [--list]`: exit code 1 on any loss."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import plan, report, runner
from tests.faults.plan import Case
from tests.faults.runner import Result
from tests.faults.scenarios import SCENARIOS
from tests.faults.whole import releases

_WHOLE = (releases.FIRST, releases.NEXT, releases.TWICE)


def main(arguments: Sequence[str]) -> int:
    """Do what was asked for and print what became of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = ", ".join([*SCENARIOS, *_WHOLE])
    parser.add_argument("what", nargs="*", metavar="SCENARIO or CASE", help=f"of {names}; every one when none is named")
    parser.add_argument("--sample", type=int, help="so many cases of each scenario, drawn at random")
    parser.add_argument("--whole", type=int, default=12, help="so many cases with whole processes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of those draws")
    parser.add_argument("--match", default="", help="only cases with this in their names")
    parser.add_argument("--list", action="store_true", help="only name the cases")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many cases at once")
    given = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # what botocore says of retries
    if given.list:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as in `--list | head`
    started = time.monotonic()
    results: list[Result] = []
    for result in done(given):
        results.append(result)
        print("\n".join(report.losses([result])), end="\n" if result.problems else "", flush=True)
    if given.list:
        return 0
    lost = sum(bool(result.problems) for result in results)
    print(
        f"\nSurvived, of those tried:\n\n{report.table(results)}\n\n{len(results)} cases, {lost} lost, {time.monotonic() - started:.0f} s"
    )
    return 1 if lost else 0


def done(given: argparse.Namespace) -> Iterator[Result]:
    """Do each case that was asked for."""
    single = [Case.parse(text) for text in given.what if "/" in text]
    wanted = [*(text for text in given.what if "/" not in text), *(case.scenario for case in single)]
    for name in dict.fromkeys(wanted or SCENARIOS):
        if name in _WHOLE:
            continue
        cases = [case for case in single if case.scenario == name] or runner.planned(name)
        cases = [case for case in cases if given.match in case.id]
        if given.sample is not None:
            cases = plan.sample(cases, given.sample, given.seed)
        if given.list:
            print(*(case.id for case in cases), sep="\n")
            continue
        with runner.prepared(name) as scenario:
            yield from runner.run(scenario, cases, given.processes)
    if given.whole and not given.list and (not wanted or set(wanted) & set(_WHOLE)):
        yield from _whole(given, [case for case in single if case.scenario in _WHOLE], set(wanted))


def _whole(given: argparse.Namespace, single: list[Case], wanted: set[str]) -> Iterator[Result]:
    """Do what takes whole processes, one case after the other."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, releases.attacked_stack(Path(folder)) as attacked:
        cases = single
        if not cases:
            found = [case for case in releases.planned(attacked) if not wanted or case.scenario in wanted]
            found = [case for case in found if given.match in case.id]
            always = [case for case in found if case.scenario == releases.TWICE]
            cases = always + plan.sample([case for case in found if case not in always], given.whole, given.seed)
        for case in cases:
            if result := releases.examine(attacked, case):
                yield result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
