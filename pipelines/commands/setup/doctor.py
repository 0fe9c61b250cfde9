"""`doctor`: what stands in the way of a release, before one is started: each thing that it needs, `ok` or what to do. Changes nothing."""

from __future__ import annotations

import json
from dataclasses import asdict

from config.environment import Environment
from config.loader import load_environment, load_model, model_names
from config.schema import Release
from pipelines.checks import doctor_aws, doctor_local
from pipelines.checks.findings import Finding
from pipelines.errors import CommandError, UsageError
from pipelines.setup.images import serving_image, tag_images


def doctor(models: list[str], env: str, *, as_json: bool) -> None:
    """Check everything and print each finding. CommandError (exit code 1) when a release would fail.

    Args:
        models: Names or files; empty: all that the environment can release.
        env: A name in config/environments, or a path.
        as_json: Print one JSON object at the end.
    """
    environment = load_environment(env)
    is_local = environment.kind == "local"
    findings: list[Finding] = []
    for finding in doctor_local.checks() if is_local else doctor_aws.checks(environment, _releases(models, environment)):
        findings.append(finding)
        if not as_json:
            print(_line(finding), flush=True)
    facts = {"findings": [asdict(finding) for finding in findings]}
    failed = sum(finding.status == "fail" for finding in findings)
    if failed:
        raise CommandError(f"{failed} of {len(findings)} need something done before a release can work", facts)
    if as_json:
        print(json.dumps(facts, indent=2))


def _releases(models: list[str], environment: Environment) -> list[Release]:
    """Resolve the named model files; without names all of config/models that the environment reaches."""
    whole = tag_images(environment)
    found = []
    for model in models or model_names():
        name, content = load_model(model)
        if content.weights.hub == "local":
            if models:
                raise UsageError(f"{name}: weights.hub is `local`, which AWS cannot reach; set it to huggingface.co")
            continue
        found.append(Release(name=name, model=content, environment=whole, serving_image=serving_image(content.serving, whole)))
    return found


def _line(finding: Finding) -> str:
    text = f"{finding.status:<5} {finding.subject:<15} {finding.message}"
    return f"{text}\n      {'':<15} → {finding.to_do}" if finding.to_do else text
