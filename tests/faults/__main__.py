"""`python -m tests.faults [SCENARIO | CASE …] [--sample N] [--seed S] [--list]`: exit code 1 on any loss."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence

from tests.faults import plan, report, runner
from tests.faults.plan import Case
from tests.faults.runner import Result
from tests.faults.scenarios import SCENARIOS


def main(arguments: Sequence[str]) -> int:
    """Do what was asked for and print what became of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "what", nargs="*", metavar="SCENARIO or CASE", help=f"of {', '.join(SCENARIOS)}; every one when none is named"
    )
    parser.add_argument("--sample", type=int, help="so many cases of each scenario, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of that draw")
    parser.add_argument("--match", default="", help="only cases with this in their names")
    parser.add_argument("--list", action="store_true", help="only name the cases")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many cases at once")
    given = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # what botocore says of retries
    started = time.monotonic()
    results: list[Result] = []
    single = [Case.parse(text) for text in given.what if "/" in text]
    names = dict.fromkeys([*(text for text in given.what if "/" not in text), *(case.scenario for case in single)])
    for name in names or SCENARIOS:
        cases = [case for case in single if case.scenario == name] or runner.planned(name)
        cases = [case for case in cases if given.match in case.id]
        if given.sample is not None:
            cases = plan.sample(cases, given.sample, given.seed)
        if given.list:
            print(*(case.id for case in cases), sep="\n")
            continue
        with runner.prepared(name) as scenario:
            for result in runner.run(scenario, cases, given.processes):
                results.append(result)
                print("\n".join(report.losses([result])), end="\n" if result.problems else "", flush=True)
    if given.list:
        return 0
    print(f"\n{report.table(results)}\n\nsurvived: {report.by_fault(results)}; {time.monotonic() - started:.0f} s")
    return 1 if any(result.problems for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
