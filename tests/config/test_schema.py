"""The format itself: the generated schema, the table of instance types, what becomes of flags and updates."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.model import StringShape
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from config.__main__ import SCHEMA_FILE, schema_text
from config.instances import GPU_COUNTS
from config.loader import load_environment, load_model
from config.schema import Release
from config.serving import Serving
from config.updates import Update
from loadtest.profiles import Objective

SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")


def test_schema_json_is_what_the_code_says() -> None:
    assert SCHEMA_FILE.read_text() == schema_text(), "run `make schema`"


def test_every_instance_type_is_one_that_sagemaker_hosts() -> None:
    shape = SAGEMAKER.shape_for("ProductionVariantInstanceType")
    assert isinstance(shape, StringShape)
    assert set(GPU_COUNTS) <= set(shape.enum)


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
