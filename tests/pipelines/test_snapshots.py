"""What the project sends to AWS and tells of it, for a 32B model and for one of 671B on two fetch hosts: kept, so that changes are seen.

Every request among it is also checked against botocore's own shapes. `tests/pipelines/snapshot.py` says how to update what is kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from config.evaluation import LmEval, LmEvalTask
from config.loader import load_environment, load_model
from config.schema import Release
from delivery.endpoint.deployment import Deployment
from delivery.endpoint.hosting import Hosting
from delivery.registry.model_packages import ModelPackage
from pipelines.definitions import promotion
from pipelines.definitions import release as release_pipeline
from pipelines.planning import plan
from pipelines.planning.observed_state import ObservedState
from pipelines.planning.plan_text import as_text
from pipelines.planning.quotas import Quota
from tests.pipelines.snapshot import check
from tests.pipelines.test_definitions import REQUESTS, every_step, plain, step_of

ROOT = Path(__file__).parents[2]
ENVIRONMENT = load_environment(str(Path(__file__).parent / "environments" / "everything.yaml"))
SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")
MODELS = ["qwen3-32b", "deepseek-r1"]
BYTES = {"qwen3-32b": 65_540_000_000, "deepseek-r1": 688_590_000_000}


def resolved(model: str) -> Release:
    name, content = load_model(model)
    return Release(name=name, model=content, environment=ENVIRONMENT, serving_image=ENVIRONMENT.images.serving)


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def assert_valid(request: dict[str, Any], shape: str) -> None:
    report = ParamValidator().validate(request, SAGEMAKER.shape_for(shape))
    assert not report.has_errors(), report.generate_report()


def check_requests(definition: dict[str, Any]) -> None:
    checked = 0
    for step in every_step(definition["Steps"]):
        if step["Type"] in REQUESTS:
            request = plain(step["Arguments"])
            if step["Type"] == "Processing":
                request["ProcessingJobName"] = "given-by-sagemaker"
            assert_valid(request, REQUESTS[step["Type"]])
            checked += 1
    assert checked >= 2


@pytest.mark.parametrize("model", MODELS)
def test_the_release_pipeline(model: str) -> None:
    release = resolved(model)
    definition = json.loads(release_pipeline.build(release).definition())
    check_requests(definition)
    # The digest of the release file changes with every new field of the format: it says nothing here.
    check(f"{model}.release.json", as_json(definition).replace(release.sha256, "RELEASE_SHA256"))


def test_the_promotion_pipeline() -> None:
    definition = json.loads(promotion.build(ENVIRONMENT).definition())
    check_requests(definition)
    check("promotion.json", as_json(definition))


@pytest.mark.parametrize("model", MODELS)
def test_the_plan_from_the_files_alone(model: str) -> None:
    check(f"{model}.plan.txt", as_text(plan.build(resolved(model), ObservedState(unknown=["everything: --offline"]))) + "\n")


@pytest.mark.parametrize("model", MODELS)
def test_the_plan_counts_the_conditions_that_the_gate_has(model: str) -> None:
    release = resolved(model)
    evaluation = release.model.evaluation.model_copy(update={"lm_eval": LmEval(tasks={"gsm8k": LmEvalTask(at_least=0.8)})})
    release = release.model_copy(update={"model": release.model.model_copy(update={"evaluation": evaluation})})
    gate = step_of(json.loads(release_pipeline.build(release).definition()), "Gate")["Arguments"]
    [planned] = [step for step in plan.build(release, ObservedState()).steps if step.name == "Gate"]
    assert planned.what == f"{len(gate['Conditions'])} conditions, all must hold"


@pytest.mark.parametrize("model", MODELS)
def test_the_plan_of_an_update(model: str) -> None:
    release = resolved(model)
    older = json.loads(release.to_json())
    older["model"]["weights"]["revision"] = "0" * 40
    older["model"]["serving"]["sglang"] |= {"mem-fraction-static": 0.8, "schedule-policy": "fcfs"}
    older["serving_image"] = older["serving_image"].replace("0123456789abcdef0123", "aaaaaaaaaaaaaaaaaaaa")
    names = [f"{release.model.serving.instance_type} for endpoint usage", "ml.m5.4xlarge for processing job usage"]
    known = {name: Quota(name, f"L-{number:08X}", 2.0) for number, name in enumerate(names)}
    known |= {
        name: Quota(name, "L-1", 10.0)
        for name in ("ml.c5.4xlarge for processing job usage", "ml.t3.medium for processing job usage")
    }
    observed = ObservedState(
        weights_bytes=BYTES[model],
        weights_stored=False,
        production_exists=True,
        production_version=3,
        production_release=older,
        quotas={"111122223333": known},
        production_zones=1,
    )
    check(f"{model}.update.txt", as_text(plan.build(release, observed)) + "\n")


class Recorder:
    """A SageMaker client that keeps what it is asked for."""

    def __init__(self) -> None:
        self.requests: dict[str, dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        def call(**request: Any) -> dict[str, Any]:
            operation = "".join(word.capitalize() for word in name.split("_"))
            shape = SAGEMAKER.operation_model(operation).input_shape
            assert shape is not None
            assert_valid(request, shape.name)
            self.requests[operation] = request
            return {}

        return call


@pytest.mark.parametrize("model", MODELS)
def test_the_endpoints(model: str) -> None:
    release, found = resolved(model), {}
    registered = step_of(json.loads(release_pipeline.build(release).definition()), "RegisterModel")["Arguments"]
    arn = f"arn:aws:sagemaker:us-west-2:111122223333:model-package/{release.package_group}/4"
    package = ModelPackage(arn, release.package_group, 4, "Approved", {}, registered["InferenceSpecification"]["Containers"][0])
    for purpose in ("staging", "production"):
        recorder = Recorder()
        deployment = Deployment(
            release, package, purpose, "abcdefgh1234", 2, "2026-01-01T00:00:00Z" if purpose == "staging" else None
        )
        Hosting(cast(Any, recorder), logs=cast(Any, None)).create("endpoint", deployment)
        found[purpose] = recorder.requests
    check(f"{model}.endpoints.json", as_json(found))


@pytest.mark.parametrize("template", ["delivery", "network"])
def test_what_each_template_makes_and_whom_it_allows_what(template: str) -> None:
    check(f"{template}.txt", outline(ROOT / "infra" / f"{template}.yaml"))


def outline(path: Path) -> str:
    """A template's parameters, resources, each role's permissions, and outputs."""
    document = yaml.load(path.read_text(encoding="utf-8"), _Templates)
    lines = [f"parameter {name} = {body.get('Default', '(none)')!r}" for name, body in document["Parameters"].items()]
    for name, resource in document["Resources"].items():
        condition = f" if {resource['Condition']}" if "Condition" in resource else ""
        lines.append(f"resource {name}: {resource['Type']}{condition}")
        properties = resource.get("Properties", {})
        for policy in [*properties.get("Policies", []), *([properties] if "PolicyDocument" in properties else [])]:
            for statement in policy["PolicyDocument"]["Statement"]:
                lines += _permission(statement)
    return "\n".join([*lines, *(f"output {name}" for name in document.get("Outputs", {})), ""])


def _permission(statement: dict[str, Any]) -> list[str]:
    """One statement of a policy, on lines of its own; of one that depends on a condition, what it is when that holds."""
    if "If" in statement:
        condition, there, _ = statement["If"]
        return [f"  where {condition}:", *_permission(there)]
    lines = [f"  {statement['Effect'].lower()}s {action}" for action in _listed(statement["Action"])]
    lines += [f"    on {_short(resource)}" for resource in _listed(statement["Resource"])]
    return [*lines, f"    if {_short(statement['Condition'])}"] if "Condition" in statement else lines


class _Templates(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, each kept as {its name: its value}."""


def _short_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Templates.add_multi_constructor("!", _short_form)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _short(value: Any) -> str:
    """`{"Sub": "arn:…"}` as it stands in the file, everything else as JSON."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(text := next(iter(value.values())), str):
        return text
    return value if isinstance(value, str) else json.dumps(value)
