"""The model files that are released, and what they need in the bucket: one for each way in which a version may behave in production."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Literal

import yaml

from config.environment import Environment
from config.schema import Release
from delivery.aws import s3
from delivery.names import RELEASE_FILE, Fact
from pipelines.definitions.requests import model_package
from tests.support.worlds.evaluation import BUCKET, IMAGE, ROOT, closed_loop
from tests.support.worlds.simulated_weights import simulated_weights

MODEL = "chat"
QUESTION = "Are you right?"
Engine = Literal["right", "wrong", "crashes"]
ENGINES: dict[Engine, dict[str, Any]] = {
    "right": {"answers": {QUESTION: "yes"}},
    "wrong": {"answers": {QUESTION: "no"}},
    "crashes": {"crash_at_start": True},
}


@cache
def environment() -> Environment:
    return Environment.model_validate(yaml.safe_load((ROOT / "config/environments/local.yaml").read_text()))


@cache
def releases() -> dict[Engine, Release]:
    """The model files: one for each way in which a version may behave in production."""
    return {engine: _release(engine) for engine in ENGINES}


def _release(engine: str) -> Release:
    return Release.model_validate(
        {
            "name": MODEL,
            "model": {
                "weights": {
                    "hub": "local",
                    "repository": f"test/{engine}",
                    "revision": hashlib.sha1(engine.encode(), usedforsecurity=False).hexdigest(),
                },
                "serving": {"instance_type": "ml.p5.48xlarge", "tensor_parallel_size": 8, "image": IMAGE},
                "evaluation": {
                    "load_profiles": {"short": closed_loop()},
                    "prompt_checks": [{"prompt": QUESTION, "expect": "yes"}],
                },
                "production": {"endpoint": MODEL, "lease": {"wait_s": 60, "expires_s": 30}},
            },
            "environment": environment().model_dump(),
            "serving_image": IMAGE,
        }
    )


@cache
def stored() -> dict[str, bytes]:
    """What is in the bucket before the first release: weights and release files, by key."""
    found: dict[str, bytes] = {}
    for engine, release in releases().items():
        manifest, files = simulated_weights(release, ENGINES[engine])
        prefix = s3.S3Uri.parse(release.weights_prefix).key
        found |= {prefix + path: body for path, body in files.items()}
        found[f"{prefix}manifest.json"] = manifest.to_json()
        found[f"releases/{MODEL}/{release.sha256}/{RELEASE_FILE}"] = release.to_json().encode()
    return found


@cache
def _manifest_digest(release_sha256: str) -> str:
    engine, release = next((name, one) for name, one in releases().items() if one.sha256 == release_sha256)
    return simulated_weights(release, ENGINES[engine])[0].sha256


def package_request(release: Release) -> dict[str, Any]:
    facts = {
        Fact.RELEASE_FILE: f"s3://{BUCKET}/releases/{MODEL}/{release.sha256}/{RELEASE_FILE}",
        Fact.WEIGHTS_PREFIX: release.weights_prefix,
        Fact.WEIGHTS_MANIFEST_SHA256: _manifest_digest(release.sha256),
    }
    return model_package(release, {str(name): value for name, value in facts.items()})
