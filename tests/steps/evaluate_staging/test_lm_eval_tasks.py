"""lm-eval tasks: refused before anything is created where they cannot work, else asked of the endpoint and scored."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from botocore.exceptions import ClientError

from config.evaluation import LmEval
from delivery.errors import DeliveryError, InputError
from loadtest.transports.openai import OpenAITransport
from steps.evaluate_staging.lm_eval.tasks import LmEvalTasks, results
from steps.evaluate_staging.models import PromptCheckSummary
from steps.evaluate_staging.verdicts import judge
from tests.support.simulated_engine import simulated
from tests.support.worlds.evaluation import BUCKET, EvaluationWorld, closed_loop, evaluation_world

ARCHIVE = f"s3://{BUCKET}/load/tasks.zip"
CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo"}
TASK = {
    "task": "capitals",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "capitals.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "Which city is the capital of {{country}}?",
    "doc_to_target": "{{capital}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def zipped(files: dict[str, str]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return body.getvalue()


LINES = "".join(json.dumps({"country": country, "capital": capital}) + "\n" for country, capital in CAPITALS.items())
CHOSEN = {**TASK, "task": "chosen", "output_type": "multiple_choice", "doc_to_choice": ["Paris", "Rome"]}
ZIP = zipped({"capitals.yaml": yaml.safe_dump(TASK), "chosen.yaml": yaml.safe_dump(CHOSEN), "capitals.jsonl": LINES})


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """lm-eval, and nothing that reaches the Hub."""
    pytest.importorskip("lm_eval", reason="the group lm-eval is not installed")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def quizzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvaluationWorld]:
    """A world whose bucket has a task of four questions."""
    with evaluation_world(tmp_path_factory.mktemp("quiz")) as made:
        made.client("s3").put_object(Bucket=BUCKET, Key="load/tasks.zip", Body=ZIP)
        yield made


def knows(*countries: str) -> dict[str, Any]:
    """An engine that knows these capitals."""
    return {"answers": {f"capital of {country}": CAPITALS[country] for country in countries}}


def tasks(**bounds: Any) -> dict[str, Any]:
    return {
        "load_profiles": {"short": closed_loop()},
        "lm_eval": {"archive": ARCHIVE, "tasks": bounds},
    }


def test_a_task_is_asked_of_the_endpoints_chat_api(offline: None, tmp_path: Path) -> None:
    wanted = LmEval.model_validate({"archive": ARCHIVE, "tasks": {"capitals": {"at_least": 0.9}}})
    accuracy = LmEvalTasks.prepare(wanted, cast(Any, Stored(ZIP)), tmp_path / "work")
    assert accuracy is not None
    answers = json.dumps(knows("France", "Italy", "Spain")["answers"])
    with simulated(tmp_path, "--sim-ttft-ms", "1", "--sim-itl-ms", "1", "--sim-answers", answers) as url:
        found = accuracy.ask(OpenAITransport(url), timeout_s=10, within_s=100)
    result = results(wanted, found, {})["capitals"]
    assert (result.value, result.met, result.compared_value) == (0.75, False, 0.75)
    assert result.low is not None and result.high is not None and result.low < 0.75 < result.high


@pytest.mark.soak
def test_a_task_is_asked_and_its_score_decides(offline: None, quizzed: EvaluationWorld) -> None:
    version = quizzed.version(tasks(capitals={"at_least": 0.9}), settings=knows("France", "Italy", "Spain"))
    run = quizzed.evaluate(version)
    assert run.evaluation.lm_eval["capitals"].value == 0.75
    assert run.evaluation.verdict == "failed"
    assert run.evaluation.summary == "lm-eval capitals 0.75 (must be at least 0.9)"
    assert quizzed.facts(version)["evaluation:lm_eval:capitals"] == "0.75"
    assert "capitals" in (run.output / "report.html").read_text()
    points = quizzed.client("cloudwatch").list_metrics(
        Namespace="Release/Evaluation", MetricName="lm_eval_capitals", Dimensions=[{"Name": "Model", "Value": "sim"}]
    )["Metrics"]
    assert len(points) == 1
    assert quizzed.left() == []


@pytest.mark.soak
@pytest.mark.parametrize(
    ("task", "says"),
    [
        (
            "chosen",
            "the lm-eval task 'chosen' is scored by multiple_choice, which a chat API does not give; choose one that generates",
        ),
        ("nonsense", "lm-eval has no task 'nonsense'"),
        ("gsm8k", "lm-eval cannot load the task 'gsm8k'"),
    ],
)
def test_what_cannot_work_is_refused_before_an_endpoint_is_made(
    offline: None, quizzed: EvaluationWorld, task: str, says: str
) -> None:
    run = quizzed.start(quizzed.version(tasks(**{task: {"at_least": 0.5}})))
    assert run.wait() == 2, run.text
    assert f"error: {says}" in run.text
    assert "is being created" not in run.text
    assert "Traceback" not in run.text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (None, r"tasks.zip is not there; the model file names it as evaluation\.lm_eval\.archive"),
        (b"no zip", "is not a zip file"),
        (zipped({"readme.txt": "nothing"}), "has no task files; put the YAML files of tasks into it"),
    ],
)
def test_an_archive_that_is_none_is_refused(tmp_path: Path, body: bytes | None, says: str) -> None:
    wanted = LmEval.model_validate({"archive": ARCHIVE, "tasks": {"capitals": {"at_least": 0.5}}})
    with pytest.raises(InputError, match=says):
        LmEvalTasks.prepare(wanted, cast(Any, Stored(body)), tmp_path / "work")


class Stored:
    """An S3 client that has one object, or none."""

    def __init__(self, body: bytes | None) -> None:
        self._body = body

    def get_object(self, **_: Any) -> dict[str, Any]:
        if self._body is None:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self._body)}


def test_without_the_extra_there_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(
        "import importlib.util as u\nfound = u.find_spec\nu.find_spec = lambda name, *a: None if name == 'lm_eval' else found(name, *a)\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "hidden")
    wanted = LmEval.model_validate({"tasks": {"gsm8k": {"at_least": 0.5}}})
    with pytest.raises(InputError, match="lm-eval is not installed here; install this project's group `lm-eval`"):
        LmEvalTasks.prepare(wanted, cast(Any, None), tmp_path / "work")


def test_lm_eval_ends_before_the_endpoint_does(tmp_path: Path) -> None:
    accuracy = LmEvalTasks(LmEval.model_validate({"tasks": {"gsm8k": {"at_least": 0.5}}}), tmp_path)
    with pytest.raises(
        DeliveryError, match=r"lm-eval had not ended after 0 s, when the staging endpoint expires; raise evaluation.max_runtime_s"
    ):
        accuracy.ask(OpenAITransport("http://127.0.0.1:9/v1"), timeout_s=1, within_s=0.01)


def test_lm_eval_ends_when_there_is_nothing_to_measure_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process here never ends by itself."""
    started: list[subprocess.Popen[bytes]] = []

    def endless(_: Any, **options: Any) -> Any:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(3600)"]))
        return started[0]

    def gone() -> None:
        raise DeliveryError("the staging endpoint was deleted")

    popen = subprocess.Popen
    monkeypatch.setattr("subprocess.Popen", endless)
    monkeypatch.setattr("steps.evaluate_staging.lm_eval.tasks._POLL_S", 0.01)
    accuracy = LmEvalTasks(LmEval.model_validate({"tasks": {"gsm8k": {"at_least": 0.5}}}), tmp_path)
    with pytest.raises(DeliveryError, match="was deleted"):
        accuracy.ask(OpenAITransport("http://127.0.0.1:9/v1"), timeout_s=1, within_s=3600, on_poll=gone)
    assert started[0].returncode == -signal.SIGKILL


def test_where_lm_eval_fails_the_run_is_invalid_and_the_version_not_to_blame() -> None:
    wanted = LmEval.model_validate({"tasks": {"gsm8k": {"at_least": 0.5}}})
    found = results(wanted, "lm-eval failed: TimeoutError: the endpoint did not answer", {})
    assert not found["gsm8k"].met
    verdict = judge(PromptCheckSummary(failed=0, results=[]), {}, found)
    assert verdict == ("invalid", "lm-eval gsm8k: lm-eval failed: TimeoutError: the endpoint did not answer")


def test_a_score_is_compared_with_productions_too() -> None:
    wanted = LmEval.model_validate({"tasks": {"gsm8k": {"at_least_production": 0.98, "filter": "strict-match"}}})
    key = "exact_match,strict-match"
    before = results(wanted, {"gsm8k": {key: 0.8}}, {})
    assert before["gsm8k"].met
    assert not results(wanted, {"gsm8k": {key: 0.7}}, before)["gsm8k"].met
    assert results(wanted, {"gsm8k": {key: 0.79}}, before)["gsm8k"].met


def test_a_metric_that_the_task_does_not_give_is_missed_and_says_what_there_is() -> None:
    wanted = LmEval.model_validate({"tasks": {"gsm8k": {"at_least": 0.5, "metric": "acc"}}})
    result = results(wanted, {"gsm8k": {"exact_match,none": 0.9}}, {})["gsm8k"]
    assert not result.met
    assert result.note == "lm-eval gives no acc,none; it gives exact_match,none"
