"""The sentence that a manager reads: what was decided, by how much, and how the rest stands."""

from __future__ import annotations

import math
from typing import Any

import pytest

from delivery.endpoint.prompt_checks import PromptCheckResult
from loadtest.measurement.models import ObjectiveResult
from steps.evaluate_staging.models import Evaluation, PromptCheckSummary
from steps.evaluate_staging.report.headline import headline
from tests.steps.evaluate_staging.evaluations import evaluation


def objective(value: float | None, bound: float, **changes: Any) -> ObjectiveResult:
    settings = {"value": value, "compared_value": 0.0, "bound": bound, "bound_kind": "at_most", "met": False}
    return ObjectiveResult.model_validate(settings | changes)


def of(verdict: str, objectives: dict[str, ObjectiveResult], **changes: Any) -> Evaluation:
    """An evaluation whose one load has these objectives."""
    made = evaluation(1)
    chat = made.profiles["chat"].model_copy(update={"objectives": objectives})
    alone: dict[str, Any] = {"verdict": verdict, "profiles": {"chat": chat}, "lm_eval": {}, "prompt_checks": checks(), **changes}
    return made.model_copy(update=alone)


def checks(*wrong: str) -> PromptCheckSummary:
    results = [
        PromptCheckResult(prompt="2 + 2", expect="4", answer=answer, passed=answer == "4") for answer in (wrong or ("4", "4"))
    ]
    return PromptCheckSummary(failed=len(wrong), results=results)


MET = objective(10, 20, met=True)
RELATIVE = {"production": 536.0, "relative_bound": 1.1, "bound": 1.1}


@pytest.mark.parametrize(
    ("objectives", "says"),
    [
        (
            {"ttft_p99_ms": objective(849, **RELATIVE), "itl_p99_ms": MET},
            "Refused: the 99th percentile of the time to the first token is 849 ms, 58% more than production's 536 ms; at most 10% more is "
            "allowed. Everything else holds.",
        ),
        (
            {"e2e_p50_ms": objective(1500, 1000)},
            "Refused: the median of the time to the whole answer is 1,500 ms, 50% more than the 1,000 ms that is allowed. Everything else holds.",
        ),
        (
            {"output_tokens_per_s": objective(900, 0.95, bound_kind="at_least", production=1000.0, relative_bound=0.95)},
            "Refused: the number of tokens written a second is 900, 10% less than production's 1,000; at most 5% less is allowed. Everything "
            "else holds.",
        ),
        (
            {"itl_p95_ms": objective(10, 0.9, production=10.0, relative_bound=0.9)},
            "Refused: the 95th percentile of the time from one token to the next is 10 ms, as much as production's 10 ms; at least 10% less "
            "is asked for. Everything else holds.",
        ),
        (
            {"ttft_p99_ms": objective(560, 500, production=536.0, relative_bound=1.1)},
            "Refused: the 99th percentile of the time to the first token is 560 ms, 12% more than the 500 ms that is allowed. Everything else "
            "holds.",
        ),
        (
            {"error_rate": objective(0.05, 0.001)},
            "Refused: the share of requests that fail is 5%, and must be at most 0.1%. Everything else holds.",
        ),
        (
            {"ttft_p999_ms": objective(math.inf, 500, note="3 of 400 requests failed: each is slower than every bound")},
            "Refused: the 99.9th percentile of the time to the first token has no end: 3 of 400 requests failed: each is slower than every "
            "bound. Everything else holds.",
        ),
        (
            {"tpot_p90_ms": objective(None, 50), "capacity_per_s": objective(5, 10, bound_kind="at_least")},
            "Refused: the 90th percentile of the time for each token after the first could not be measured. The number of requests a second "
            "that it can carry is 5, 50% less than the 10 that is asked for. Everything else holds.",
        ),
        (
            {name: objective(30, 20) for name in ("ttft_p50_ms", "ttft_p90_ms", "ttft_p95_ms", "ttft_p99_ms")},
            "Refused: the median of the time to the first token is 30 ms, 50% more than the 20 ms that is allowed. The 90th percentile of the "
            "time to the first token is 30 ms, 50% more than the 20 ms that is allowed. 2 more do not hold.",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_says_by_how_much(objectives: dict[str, ObjectiveResult], says: str) -> None:
    assert headline(of("failed", objectives)) == says


def test_a_wrong_answer_comes_first() -> None:
    said = headline(of("failed", {"e2e_p50_ms": objective(1500, 1000)}, prompt_checks=checks("5")))
    assert said.startswith(
        "Refused: asked '2 + 2', the model answers without '4'. The median of the time to the whole answer is 1,500 ms"
    )


def test_what_passes_says_how_much_was_asked() -> None:
    assert headline(of("passed", {"ttft_p99_ms": MET, "itl_p99_ms": MET})) == (
        "Accepted: all 2 objectives hold, and all 2 prompt checks are answered right."
    )
    alone = of("passed", {"ttft_p99_ms": MET}, prompt_checks=PromptCheckSummary(failed=0, results=[]))
    assert headline(alone) == "Accepted: the one objective holds."


WHY = "ttft_p99_ms is 508.4 and could be 320 or more"
NEAR = objective(508.4, 509, met=True, low=320.0, undecided=WHY)
LATE = "chat: the client was 80 ms late (p99), more than 50 ms"


@pytest.mark.parametrize(
    ("objectives", "summary", "says"),
    [
        (
            {"ttft_p99_ms": NEAR},
            f"chat: {WHY}",
            "the 99th percentile of the time to the first token is 508.4 ms, which does not decide whether it keeps at most 509 ms",
        ),
        ({"ttft_p99_ms": MET}, LATE, LATE),
        ({"ttft_p99_ms": NEAR}, f"{LATE}, chat: {WHY}", f"{LATE}, chat: {WHY}"),
        (
            {"ttft_p99_ms": objective(math.inf, 509, undecided=WHY, note="3 of 400 requests failed")},
            f"chat: {WHY}",
            "the 99th percentile of the time to the first token has no end: 3 of 400 requests failed, which does not decide whether it keeps "
            "at most 509 ms",
        ),
    ],
)
def test_what_is_not_decided_says_why_and_nothing_about_the_version(
    objectives: dict[str, ObjectiveResult], summary: str, says: str
) -> None:
    """What makes the numbers say nothing comes before an objective that they do not decide."""
    said = headline(of("invalid", objectives, summary=summary))
    assert said == f"Not decided: {says}. This says nothing about the version, which can be measured again."


def test_what_is_undecided_beside_what_is_missed_is_not_said_to_hold() -> None:
    missed = {"e2e_p50_ms": objective(1500, 1000)}
    assert headline(of("failed", missed | {"ttft_p99_ms": NEAR})).endswith("is allowed. 1 is undecided.")
    many = {f"ttft_p{share}_ms": objective(30, 20) for share in (50, 90, 95)}
    both = many | {"e2e_p99_ms": NEAR, "e2e_p90_ms": NEAR}
    assert headline(of("failed", both)).endswith("is allowed. 1 more does not hold and 2 are undecided.")


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (objective(1504, 1500), "1,504 ms, 0.3% more than the 1,500 ms that is allowed"),
        (objective(1500.01, 1500), "1,500 ms, 0.0007% more than"),
        (
            objective(110.2, 1.1, production=100.0, relative_bound=1.1),
            "110.2 ms, 10% more than production's 100 ms; at most 10% more is",
        ),
        (
            objective(101, 1.004, production=100.0, relative_bound=1.004),
            "1% more than production's 100 ms; at most 0.4% more is allowed",
        ),
    ],
)
def test_a_difference_is_never_said_to_be_none(result: ObjectiveResult, says: str) -> None:
    assert says in headline(of("failed", {"e2e_p50_ms": result}))


def test_of_several_loads_it_says_which() -> None:
    made = of("failed", {"ttft_p99_ms": objective(849, 500)})
    both = made.model_copy(update={"profiles": {"chat": made.profiles["chat"], "long": made.profiles["chat"]}})
    assert "the time to the first token under the load 'chat' is 849 ms" in headline(both)
    assert "the time to the first token under the load 'long' is 849 ms" in headline(both)
