"""The cases: each recorded call by each fault by when, and who does it again afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Self, get_args

from tests.faults.injector import Injection
from tests.faults.kinds import FAULTS, Event

Again = Literal["same", "other"]
"""Who does it again: the same execution (SageMaker retries a step), or another."""


@dataclass(frozen=True)
class Case:
    """One attack on one scenario."""

    scenario: str
    injection: Injection
    again: Again

    @property
    def id(self) -> str:
        """SCENARIO/CALLER/CALL/FAULT/WHEN/AGAIN; `2` is the second call alone, `2+` it and all later ones."""
        found = self.injection
        when = f"{found.first}{'+' if found.lasts else ''}"
        return "/".join((self.scenario, found.caller, found.call, found.fault, when, self.again))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an id.

        Example:
            >>> Case.parse("update/promote/s3:PutObject:lease/denied/2+/other").injection.lasts
            True
        """
        scenario, caller, call, fault, when, again = text.split("/")
        if fault not in FAULTS or again not in get_args(Again):
            raise ValueError(f"{text!r} is not the id of a case")
        injection = Injection(caller, call, fault, int(when.removesuffix("+")), when.endswith("+"))
        return cls(scenario, injection, again)  # type: ignore[arg-type]


def cases(scenario: str, record: Mapping[tuple[str, str], int], moments: Mapping[str, Iterable[str]]) -> list[Case]:
    """Make every case of a scenario.

    A fault strikes once, at the first and at the last of a caller's calls of one name, or lasts, from the first or the last of them on. Two
    of them, after which the service has done nothing and everything of what was asked, last from each call on; and a process is killed
    and terminated after each.

    Args:
        scenario: Its name.
        record: How many calls of each name each caller made without a fault, in their order.
        moments: At the last of which calls something happens, by the event's name; an empty name is the first call of all.
    """
    (caller, earliest), found = next(iter(record)), []
    for event, calls in moments.items():
        for call in calls:
            at = Injection(caller, call or earliest, event, record[caller, call] if call else 1, lasts=False)
            found += [Case(scenario, at, again) for again in get_args(Again)]
    for (caller, call), number in sorted(record.items()):
        for fault in (name for name, kind in FAULTS.items() if not isinstance(kind, Event)):
            for first, lasts, again in _moments(fault, number):
                found.append(Case(scenario, Injection(caller, call, fault, first, lasts), again))
    return found


def _moments(fault: str, number: int) -> Iterator[tuple[int, bool, Again]]:
    ends, each = sorted({1, number}), range(1, number + 1)
    match fault:
        case "killed":
            yield from ((first, False, again) for first in each for again in get_args(Again))
        case "terminated":
            yield from ((first, False, "other") for first in each)
        case "expired" | "cut-off":
            yield from ((first, False, again) for first in ends for again in get_args(Again))
        case _:
            yield from ((first, False, "other") for first in ends)
            lasting = each if fault in {"denied", "lost-answer"} else ends
            yield from ((first, True, again) for first in lasting for again in get_args(Again))


def sample(found: Iterable[Case], number: int, seed: int) -> list[Case]:
    """Draw so many cases, the same for the same seed."""
    known = list(found)
    return known if number >= len(known) else random.Random(seed).sample(known, number)
