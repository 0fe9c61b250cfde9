"""A SageMaker on this machine with one registered version behind the simulated engine, for tests of the evaluation and the reaper."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from config.schema import Release
from sagemaker_local.testing import RunningServer, running
from steps.evaluate_staging.models import Evaluation
from tests.infra.audit import calls_of, every_call_is_allowed
from tests.support import simulated_engine
from tests.support.forked import start_module
from tests.support.started_step import StartedStep

ROOT = Path(__file__).parents[3]
BUCKET = "release-local"
REAP_ROLE = "arn:aws:iam::123456789012:role/release-reap"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/release-serving:simulated"
QUICK = {"ttft_ms": 60, "itl_ms": 5}
EVALUATION = {"max_runtime_s": 300, "client_lag_at_most_ms": 1000}  # the machine has other things to do while tests run


def closed_loop(**changes: Any) -> dict[str, Any]:
    """A short load profile with objectives that any engine meets."""
    return {
        "kind": "closed_loop",
        "concurrency": 8,  # a median that decides takes six requests, on a slow machine too
        "prompt_tokens": 32,
        "output_tokens": 8,
        "warmup_s": 0.1,
        "duration_s": 0.5,
        "objectives": {"ttft_p50_ms": {"at_most": 5000}, "error_rate": {"at_most": 0}},
        **changes,
    }


@dataclass
class Version:
    """A registered version and the release that it came from."""

    release: Release
    arn: str
    file: Path

    @property
    def group(self) -> str:
        return self.release.package_group


@dataclass
class EvaluationRun(StartedStep):
    """One start of the step."""

    version: Version
    execution: str

    @property
    def evaluation(self) -> Evaluation:
        return Evaluation.model_validate_json((self.output / "evaluation.json").read_bytes())


@dataclass
class EvaluationWorld:
    """The server, and short forms of what tests do with it."""

    server: RunningServer
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """That of a process whose AWS is this server."""
        return self.environment_in(None)

    def environment_in(self, role_arn: str | None) -> dict[str, str]:
        """The same in a role."""
        return {**os.environ, **self.server.environment(role_arn)}

    def client(self, service: str) -> Any:
        return self.server.client(service)

    def version(
        self,
        evaluation: dict[str, Any],
        *,
        name: str = "sim",
        settings: dict[str, Any] | None = None,
        environment: dict[str, Any] | None = None,
        sglang: dict[str, Any] | None = None,
    ) -> Version:
        """Register a version of a model that the simulated engine serves as `settings` say, with the flags of `sglang`; `environment` adds
        to the local one."""
        revision = hashlib.sha1(f"{name}{settings}".encode(), usedforsecurity=False).hexdigest()
        release = Release.model_validate(
            {
                "name": name,
                "model": {
                    "weights": {"hub": "local", "repository": f"test/{name}", "revision": revision},
                    "serving": {
                        "instance_type": "ml.p5.48xlarge",
                        "tensor_parallel_size": 8,
                        "image": IMAGE,
                        "startup_timeout_s": 60,
                        "sglang": sglang or {},
                    },
                    "evaluation": {**EVALUATION, "load_profiles": {"short": closed_loop()}, **evaluation},
                    "production": {"endpoint": name},
                },
                "environment": {
                    **yaml.safe_load((ROOT / "config/environments/local.yaml").read_text()),
                    **(environment or {}),
                },
                "serving_image": IMAGE,
            }
        )
        s3 = self.client("s3")
        bucket, prefix = release.weights_prefix.removeprefix("s3://").split("/", 1)
        s3.put_object(Bucket=bucket, Key=f"{prefix}simulated.json", Body=json.dumps({**QUICK, **(settings or {})}))
        s3.put_object(Bucket=bucket, Key=f"{prefix}config.json", Body=b'{"architectures": ["Qwen3ForCausalLM"]}')
        sagemaker = self.client("sagemaker")
        groups = [
            group["ModelPackageGroupName"] for group in sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
        ]
        if release.package_group not in groups:
            sagemaker.create_model_package_group(ModelPackageGroupName=release.package_group)
        from pipelines.definitions.requests import model_package

        arn = sagemaker.create_model_package(**model_package(release, {"weights:revision": revision}))["ModelPackageArn"]
        file = self.folder / f"release-{uuid.uuid4().hex[:8]}.json"
        file.write_text(release.to_json())
        return Version(release, arn, file)

    def start(self, version: Version, *more: str, execution: str | None = None, with_suite: bool = False) -> EvaluationRun:
        """Start the step as the pipeline does; with great_expectations, whose import takes 4 s, or without."""
        execution = execution or uuid.uuid4().hex[:12]
        output = self.folder / execution
        log = self.folder / f"{execution}.log"
        arguments = [
            "--release",
            str(version.file),
            "--model-package",
            version.arn,
            "--execution",
            execution,
            "--output",
            str(output),
        ]
        environment = self.environment_in(version.release.environment.roles.evaluate)
        without = () if with_suite else ("great_expectations",)
        process = start_module("steps.evaluate_staging", [*arguments, *more], environment, log, without=without)
        return EvaluationRun(process, output, log, version, execution)

    def evaluate(self, version: Version, *more: str, execution: str | None = None, with_suite: bool = False) -> EvaluationRun:
        """EvaluationRun the step to its end, which must be a good one."""
        run = self.start(version, *more, execution=execution, with_suite=with_suite)
        assert run.wait() == 0, run.text
        return run

    def store(self, run: EvaluationRun) -> None:
        """Upload the step's output, as the processing job does."""
        bucket, prefix = run.version.release.evaluations_prefix.removeprefix("s3://").split("/", 1)
        for file in run.output.rglob("*"):
            if file.is_file():
                key = f"{prefix}/{run.execution}/{file.relative_to(run.output)}"
                self.client("s3").put_object(Bucket=bucket, Key=key, Body=file.read_bytes())

    def facts(self, version: Version) -> dict[str, str]:
        described = self.client("sagemaker").describe_model_package(ModelPackageName=version.arn)
        facts: dict[str, str] = described["CustomerMetadataProperties"]
        return facts

    def left(self) -> list[str]:
        """Every endpoint, endpoint config and model that is there and not on its way out."""
        sagemaker = self.client("sagemaker")
        endpoints = [e["EndpointName"] for e in sagemaker.list_endpoints()["Endpoints"] if e["EndpointStatus"] != "Deleting"]
        configs = [config["EndpointConfigName"] for config in sagemaker.list_endpoint_configs()["EndpointConfigs"]]
        models = [model["ModelName"] for model in sagemaker.list_models()["Models"]]
        return [*endpoints, *configs, *models]

    def reap(self, *more: str) -> subprocess.CompletedProcess[str]:
        """One pass of the reaper."""
        log = self.folder / f"reap-{uuid.uuid4().hex[:8]}.log"
        process = start_module("steps.reap", ["--region", "us-east-1", *more], self.environment_in(REAP_ROLE), log)
        return subprocess.CompletedProcess(process.args, process.wait(), log.read_text(), log.read_text())


def iso(offset_s: float = 0) -> str:
    """A time from now, as tags have it."""
    return datetime.fromtimestamp(time.time() + offset_s, UTC).isoformat(timespec="seconds")


@contextmanager
def evaluation_world(
    folder: Path, *more_images: dict[str, Any], capacity: dict[str, int] | None = None
) -> Iterator[EvaluationWorld]:
    """A world of its own for one test module; what its processes call is held against their roles when it ends.

    `more_images` are entries of its image map, `capacity` is how many endpoint instances of a type it has.
    """
    images = folder / "images.yaml"
    entry = simulated_engine.image_entry("*/release-serving:simulated")
    images.write_text(yaml.safe_dump({"images": [entry, *more_images], "capacity": capacity or {}}))
    with running(folder / "state", images) as server:
        made = EvaluationWorld(server, folder)
        made.client("s3").create_bucket(Bucket=BUCKET)
        yield made
    every_call_is_allowed(calls_of(folder / "state"), BUCKET)
