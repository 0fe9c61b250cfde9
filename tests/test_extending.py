"""docs/extending.md does what it says: its patches, applied to a copy of the tree, give a load profile, an update strategy and a step."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from config.loader import MODELS

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
PROBE = """
import json, sys
from types import SimpleNamespace
from config.__main__ import SCHEMA_FILE, schema_text
from config.loader import load_environment, load_model
from config.schema import Release
from pipelines.definitions import release as definition
from pipelines.planning import plan
from pipelines.planning.observed_state import ObservedState
from loadtest.measurement.measurement import Measurement
from loadtest.runner import Runner
from steps.evaluate_staging.report import formatting
from delivery.names import RELEASE_STEPS

name, model = load_model("extended")
release = Release(name=name, model=model, environment=load_environment("aws"), serving_image="image")
profile, loads = model.evaluation.load_profiles["nightly"], []
fleet = SimpleNamespace(measure=lambda load, _: loads.append(load) or Measurement.of(load.window_s, 0, []))
Runner(fleet, lambda _: None, SimpleNamespace(tokenizer=None)).run(profile, 0, print)
with open("release.json", "w") as file:
    file.write(release.to_json())
json.dump({
    "schema": schema_text(),
    "moments": [due.at_s for due in loads[0].schedule],
    "sentence": formatting.load(SimpleNamespace(load=profile.load, goes=1)),
    "update": model.production.update.deployment_config(),
    "definition": json.loads(definition.build(release).definition()),
    "plan": [step.name for step in plan.build(release, ObservedState()).steps],
    "steps": RELEASE_STEPS,
}, open("found.json", "w"))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def apply(patch: str, folder: Path) -> None:
    """As a reader would: `git apply`, which refuses what does not fit."""
    git_apply = subprocess.run(["git", "apply"], cwd=folder, input=patch, capture_output=True, text=True, check=False)
    assert git_apply.returncode == 0, f"{git_apply.stderr}\n{patch}"


def merged(content: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A model file with the keys of another one; an update strategy replaces the one that is there."""
    both = {**content, **more}
    inner = {key for key in content.keys() & more.keys() if isinstance(more[key], dict) and key != "update"}
    return both | {key: merged(content[key], more[key]) for key in inner}


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The copy with everything applied, and what its code then says."""
    folder = tmp_path_factory.mktemp("extended")
    for room in ("config", "delivery", "loadtest", "steps", "pipelines", "container"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)  # whatever clone the folder may be in
    for patch in blocks("diff"):
        apply(patch, folder)
    content = yaml.safe_load((MODELS / "qwen3-32b.yaml").read_text(encoding="utf-8"))
    for more in blocks("yaml"):
        content = merged(content, yaml.safe_load(more))
    (folder / "config" / "models" / "extended.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    subprocess.run([sys.executable, "-c", PROBE], cwd=folder, check=True)
    return folder, json.loads((folder / "found.json").read_text())


def test_the_load_profile_is_in_the_schema_the_load_and_the_report(extended: tuple[Path, dict[str, Any]]) -> None:
    _, found = extended
    assert "Bursts" in json.loads(found["schema"])["$defs"]
    assert len(found["moments"]) == 32 * 7  # 5 s of warm-up and a minute, from 0 s on, every 10 s
    assert sorted(set(found["moments"])) == [0, 10, 20, 30, 40, 50, 60]
    assert found["sentence"].startswith("32 requests at once, every 10 s; ")
    gate = next(step for step in found["definition"]["Steps"] if step["Name"] == "Gate")["Arguments"]
    paths = [condition["LeftValue"]["Std:JsonGet"]["Path"] for condition in gate["Conditions"]]
    assert "profiles.nightly.objectives.e2e_p99_ms.compared_value" in paths


def test_the_update_strategy_is_one_that_sagemaker_takes(extended: tuple[Path, dict[str, Any]]) -> None:
    _, found = extended
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("DeploymentConfig")
    assert not ParamValidator().validate(found["update"], shape).has_errors()
    assert found["update"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["CanarySize"]["Type"] == "INSTANCE_COUNT"


def test_the_step_stands_in_definition_and_plan_and_runs(extended: tuple[Path, dict[str, Any]]) -> None:
    folder, found = extended
    assert found["steps"][-1] == found["plan"][-1] == "Announce"
    assert '["python", "-m", "steps.announce"]' in json.dumps(found["definition"])
    package = "arn:aws:sagemaker:us-west-2:111122223333:model-package/release-extended/7"
    command = [sys.executable, "-m", "steps.announce", "--release", "release.json", "--model-package", package, "--output", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "qwen3-32b serves extended, version 7\n"), done.stderr
    assert json.loads((folder / "out" / "announcement.json").read_text())["schema_version"] == 1
