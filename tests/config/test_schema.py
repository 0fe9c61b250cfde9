"""The format itself: the generated schema, the table of instance types, what becomes of flags and updates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.model import StringShape
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from config import aws_facts
from config.__main__ import SCHEMA_FILE, schema_text
from config.environment import Environment
from config.instances import GPU_COUNTS, KNOWN_COUNTS
from config.loader import load_environment, load_model
from config.reading import vocabulary
from config.schema import ModelFile, Release
from config.serving import Serving
from config.updates import Update
from loadtest.profiles import Objective

FLAGS = Path(__file__).parents[2] / "container" / "sglang_flags.json"
SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")


def test_schema_json_is_what_the_code_says() -> None:
    assert SCHEMA_FILE.read_text() == schema_text(), "run `make schema`"


def test_editors_are_told_what_every_key_is_for() -> None:
    schema = ModelFile.model_json_schema()
    for name, definition in {"ModelFile": schema, **schema["$defs"]}.items():
        for key, value in definition.get("properties", {}).items():
            assert value.get("description"), f"{name}.{key}"


def test_every_instance_type_with_gpus_that_botocore_knows_is_in_the_table_and_no_other() -> None:
    """Families with NVIDIA GPUs begin with p or g: AWS, "Amazon EC2 instance type naming conventions"."""
    shape = SAGEMAKER.shape_for("ProductionVariantInstanceType")
    assert isinstance(shape, StringShape)
    assert {name for name in shape.enum if re.match(r"ml\.(p|g|gr)\d", name)} == set(KNOWN_COUNTS)
    assert {"ml.p3.2xlarge", "ml.p2.xlarge"} & set(GPU_COUNTS) == set()  # too old for SGLang


def test_aws_facts_json_is_what_botocore_says() -> None:
    assert aws_facts.FILE.read_text() == aws_facts.as_text(aws_facts.collect()), "run `make schema`"


def test_what_other_engines_names_lead_to_is_there() -> None:
    known = {spelling.removeprefix("--") for flag in json.loads(FLAGS.read_text())["flags"] for spelling in flag["spellings"]}
    assert {name for name in vocabulary.FLAGS.values() if "." not in name} <= known
    assert not set(vocabulary.FLAGS) & known
    assert not set(vocabulary.DEFAULTS) & known
    keys = {key for node in (ModelFile, Environment) for key in re.findall(r'"(\w+)": \{', json.dumps(node.model_json_schema()))}
    assert {target.rpartition(".")[2] for target in vocabulary.KEYS.values()} <= keys


def test_a_release_survives_being_written_and_read() -> None:
    name, model = load_model("qwen3-32b")
    release = Release(name=name, model=model, environment=load_environment("aws"), serving_image="image")
    again = Release.model_validate_json(release.to_json())
    assert again == release
    assert again.sha256 == release.sha256


@pytest.mark.parametrize(
    "update",
    [
        {"strategy": "all_at_once"},
        {"strategy": "canary", "canary_percent": 20},
        {"strategy": "linear"},
        {"strategy": "rolling", "batch_percent": 25},
    ],
)
def test_every_update_strategy_is_a_deployment_config_that_botocore_accepts(update: dict[str, Any]) -> None:
    config = TypeAdapter(Update).validate_python(update).deployment_config()
    report = ParamValidator().validate(config, SAGEMAKER.shape_for("DeploymentConfig"))
    assert not report.has_errors(), report.generate_report()


@given(st.floats(allow_nan=False), st.floats(allow_nan=False, allow_infinity=False))
def test_an_objective_is_met_on_its_own_side_only(value: float, bound: float) -> None:
    assert Objective(at_most=bound).met_by(value) == (value <= bound)
    assert Objective(at_least=bound).met_by(value) == (value >= bound)
    assert not Objective(at_most=bound).met_by(None)


@given(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=50), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
)
def test_a_flag_reaches_the_container_as_its_own_text_or_as_json(value: Any) -> None:
    serving = Serving.model_construct(instance_type="ml.p5.48xlarge", tensor_parallel_size=8, sglang={"some-flag": value})
    text = serving.container_environment(trust_remote_code=False)["SM_SGLANG_SOME_FLAG"]
    assert text == value if isinstance(value, str) else TypeAdapter(type(value)).validate_json(text) == value
