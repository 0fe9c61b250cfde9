"""The engine that coverage is measured on, against queueing theory, and the benchmark in its small form."""

from __future__ import annotations

import numpy
import pytest

from benchmarks.gate.__main__ import main
from benchmarks.gate.coverage import Cell
from benchmarks.gate.engine import SPEED_NODES, SPEED_WEIGHTS, Engine, Load, simulate

PLAIN = Engine(
    places=1,
    admitted=1,
    request_ms=0,
    prompt_token_us=0,
    mood_sigma=0,
    noise_sigma=0,
    hiccup_share=0,
    output_tokens=40,
    output_sigma=0.6,
)
"""One request at a time, no noise: a queue whose answer is known."""


def test_an_engine_with_one_place_waits_as_pollaczek_and_khinchine_say() -> None:
    """M/G/1: the mean wait is rate * E[S^2] / (2 * (1 - load))."""
    runs, length_s = 40, 1500.0
    seen = simulate(PLAIN, Load(rate_per_s=0.6), runs=runs, duration_s=length_s, seed=1)
    iteration_s = PLAIN.iteration_ms / 1e3
    counted = (seen.due_s > 200) & (seen.due_s < length_s - 100) & ~numpy.isnan(seen.ended_s)
    service_s = seen.tokens[counted] * iteration_s
    busy = 0.6 * service_s.mean()
    expected_s = 0.6 * (service_s**2).mean() / (2 * (1 - busy))
    waited_s = (seen.first_s - seen.due_s)[counted] - iteration_s
    assert waited_s.mean() == pytest.approx(expected_s, rel=0.06)
    assert (seen.ended_s - seen.first_s)[counted] + iteration_s == pytest.approx(service_s)


def test_a_closed_loop_keeps_littles_law() -> None:
    seen = simulate(Engine(), Load(clients=16), runs=20, duration_s=200, seed=2)
    within = (seen.ended_s > 50) & (seen.ended_s < 190)
    rate_per_s = within.sum() / 20 / 140
    assert rate_per_s * (seen.ended_s - seen.due_s)[within].mean() == pytest.approx(16, rel=0.02)


def test_a_runs_own_speed_changes_every_time_by_the_same_factor() -> None:
    alike = simulate(PLAIN, Load(clients=1), runs=2, duration_s=60, seed=3, speeds=[0.0, 5.0])
    slower = float(numpy.exp(5 * PLAIN.run_sigma))
    assert alike.iteration_s[10:50, 1] == pytest.approx(alike.iteration_s[10:50, 0] * slower, rel=1e-5)


def test_speeds_have_the_moments_of_a_normal_distribution() -> None:
    for power, moment in ((0, 1), (1, 0), (2, 1), (3, 0), (4, 3)):
        assert sum(weight * node**power for node, weight in zip(SPEED_NODES, SPEED_WEIGHTS, strict=True)) == pytest.approx(moment)


def test_the_small_form_prints_a_line_for_each_metric_and_covers(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--runs", "30", "--loads", "closed", "--durations", "60"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 13 + 1
    assert all(float(line.split()[4].rstrip("%")) >= 80 for line in lines[2:-1]), "of 30 runs each; the full form has the bars"


def test_intervals_that_hold_too_seldom_miss() -> None:
    def standing(held: int, endless: int = 0) -> str:
        cell = Cell("ttft_p50")
        for number in range(100):
            cell.add([(0.5, 2.0), (0.0 if number < held else 2.0, None if number < endless else 3.0)], 1.0)
        return cell.standing

    assert [standing(92), standing(93), standing(98), standing(99)] == ["MISSED", "covers", "covers", "wide"]
    assert standing(99, endless=60) == "too short"
    assert standing(92, endless=60) == "MISSED"
    first_missed = Cell("ttft_p50")
    first_missed.add([(2.0, 3.0), (0.0, 3.0)], 1.0)
    assert first_missed.standing == "MISSED", "every look must hold it"
