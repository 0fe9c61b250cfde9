"""`new`: the file that nobody has to write by hand loads, fits and warns of nothing, for well-known models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from config.loader import inspect_model
from config.schema import ModelFile
from delivery.hub.fit import fit
from local_hub.hub import LocalHub
from pipelines.commands.releases import new
from pipelines.errors import UsageError
from pipelines.planning import plan
from pipelines.planning.observed_state import ObservedState
from pipelines.resolution import resolve
from pipelines.setup.model_proposal import HubFacts, propose
from tests.support.well_known import MODELS
from tests.support.worlds import fetching

EXPECTED = {
    "llama-3-3-70b": ("ml.g7.48xlarge", 8),
    "qwen3-32b": ("ml.g7.24xlarge", 4),
    "deepseek-r1": ("ml.p5e.48xlarge", 8),
    "smollm2-1-7b": ("ml.g5.xlarge", 1),
}
"""The least GPU memory that holds each with room for four requests of full length; a change of the order shows."""


def written(name: str, folder: Path, **given: object) -> tuple[Path, ModelFile]:
    path = folder / f"{name}.yaml"
    path.write_text(propose(name, HubFacts(MODELS[name].selection(), "apache-2.0"), **given))  # type: ignore[arg-type]
    _, model, warnings = inspect_model(path)
    assert not warnings
    return path, model


@pytest.mark.parametrize("name", MODELS)
def test_the_file_passes_check_and_plan_unchanged(name: str, tmp_path: Path) -> None:
    path, model = written(name, tmp_path)
    found = fit(model, MODELS[name].selection())
    assert found.findings == []
    release = resolve(str(path), "aws")
    planned = plan.build(release, ObservedState(unknown=["everything: --offline"]))
    assert planned.is_possible
    assert planned.warnings == []
    text = path.read_text()
    assert "# of " in text and "KV cache" in text
    assert MODELS[name].revision in text
    assert len(model.evaluation.prompt_checks) == 3


@pytest.mark.parametrize("name", EXPECTED)
def test_the_instance_is_the_smallest_that_fits(name: str, tmp_path: Path) -> None:
    _, model = written(name, tmp_path)
    assert (model.serving.instance_type, model.serving.tensor_parallel_size) == EXPECTED[name]


def test_what_is_asked_for_is_taken(tmp_path: Path) -> None:
    _, model = written(
        "qwen3-32b", tmp_path, instance_type="ml.p5.48xlarge", slo={"ttft_p99_ms": 800, "output_tokens_per_s": 900}
    )
    assert model.serving.instance_type == "ml.p5.48xlarge"
    objectives = model.evaluation.load_profiles["chat"].objectives
    assert objectives["ttft_p99_ms"].at_most == 800
    assert objectives["output_tokens_per_s"].at_least == 900


def test_what_fits_nowhere_is_said_with_the_arithmetic() -> None:
    facts = HubFacts(MODELS["deepseek-r1"].selection())
    with pytest.raises(UsageError, match=r"fits not on ml\.g6\.xlarge: .*weights"):
        propose("r1", facts, "ml.g6.xlarge")
    huge = HubFacts(replace(facts.selection, weight_bytes=10**13))
    with pytest.raises(UsageError, match="fits not on any instance type"):
        propose("huge", huge)


def test_the_experts_are_spread_where_their_blocks_cannot_be_split(tmp_path: Path) -> None:
    _, model = written("qwen3-235b-fp8", tmp_path, instance_type="ml.p5.48xlarge")
    assert model.serving.sglang["ep-size"] == 8


def test_from_a_hub_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "hub"
    known = MODELS["smollm2-1-7b"]
    files = fetching.model_files([1000]) | {"tokenizer_config.json": b'{"chat_template": "x"}'}
    files["config.json"] = json.dumps(known.config).encode()
    fetching.write_repository(root, "acme/small", files)
    path = tmp_path / "small.yaml"
    with LocalHub(root=root) as server:
        new.new("small", "acme/small", instance=None, slo=["ttft_p99_ms=700"], hub=server.endpoint, to=path)
        revision = server.revision("acme/small")
    assert capsys.readouterr().out == f"{path}\n"
    assert inspect_model(path)[1].weights.revision == revision
    for name, slo, says in (("small", [], "is there already"), ("My_Model", [], "lower-case letters"), ("x", ["ttft=1"], "no such metric"),
                            ("x", ["ttft_p99_ms=fast"], "no number")):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            new.new(
                name,
                "acme/small",
                instance=None,
                slo=slo,
                hub="http://127.0.0.1:9",
                to=path if name == "small" else tmp_path / "y.yaml",
            )
