"""The life of a version holds its promises, whatever comes in whatever order."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.lifecycle.machine import LifeOfVersions
from tests.lifecycle.seeded_bugs import BUGS, RARE, seeded
from tests.lifecycle.specification import Broken
from tests.lifecycle.world import commands_and_steps

_STEPS_A_HISTORY = 50
_EVERY_PHASE = tuple(Phase)


def live_through(steps: int, *, derandomize: bool, phases: tuple[Phase, ...] = _EVERY_PHASE) -> int:
    """Let the machine draw histories until it has taken about so many steps; how many it took."""
    LifeOfVersions.steps = 0
    chosen = settings(
        max_examples=steps // _STEPS_A_HISTORY,
        stateful_step_count=_STEPS_A_HISTORY,
        derandomize=derandomize,
        database=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with commands_and_steps(), redirect_stdout(io.StringIO()):
        run_state_machine_as_test(LifeOfVersions, settings=chosen)
    return LifeOfVersions.steps


def test_no_promise_is_broken_in_ten_thousand_steps() -> None:
    """The same histories each time: a change that breaks a promise is what makes it fail, not the day."""
    assert live_through(15_000, derandomize=True) >= 10_000


@pytest.mark.soak
def test_no_promise_is_broken_in_a_hundred_thousand_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """Others each time."""
    steps = live_through(200_000, derandomize=False)
    with capsys.disabled():
        sys.stdout.write(f"\n{steps:,} steps, no promise broken\n")
    assert steps >= 100_000


@pytest.mark.parametrize("bug", [*BUGS, *(pytest.param(bug, marks=pytest.mark.soak) for bug in RARE)])
def test_a_mistake_that_is_put_back_is_found(bug: str) -> None:
    with seeded(bug), pytest.raises(Broken):
        live_through(200_000 if bug in RARE else 15_000, derandomize=True, phases=(Phase.generate,))
