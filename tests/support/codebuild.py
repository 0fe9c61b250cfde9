"""What CodeBuild does with buildspec.yml, on this machine: its phases in bash, a clone with history, docker and make replaced by recorders.

Everything else is real: git, the project's commands, the AWS that sagemaker_local and moto play, the Hub that local_hub plays.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sagemaker_local.testing import RunningServer, running
from tests.infra.audit import calls_of, every_call_is_allowed

ROOT = Path(__file__).parents[2]
ACCOUNT, REGION = "123456789012", "us-east-1"
BUCKET = f"release-{ACCOUNT}-{REGION}"
BUILD_ROLE = f"arn:aws:iam::{ACCOUNT}:role/release-build"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
_COPIED = [
    "config",
    "container",
    "delivery",
    "loadtest",
    "pipelines",
    "steps",
    "requirements",
    "LICENSE",
    ".dockerignore",
    ".gitignore",
    "buildspec.yml",
]
_DOCKER = """#!/usr/bin/env bash
# Writes down what it is asked; what it pushes is in ECR afterwards.
echo "docker $*" >> "$RECORD"
if [ "$1" = login ]; then cat > /dev/null; fi
if [ "$1" = push ]; then
  name=${2#*/}
  exec "$VENV/bin/python" -c 'import boto3, sys
boto3.client("ecr").put_image(repositoryName=sys.argv[1], imageTag=sys.argv[2], imageManifest="{\\"schemaVersion\\": 2}",
                               imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json")' "${name%:*}" "${name##*:}"
fi
"""
_MAKE = """#!/usr/bin/env bash
echo "make $*" >> "$RECORD"
[ "$*" != "${FAILING_TARGET:-}" ]
"""


@dataclass
class Build:
    """One run of buildspec.yml."""

    succeeded: bool
    phases: dict[str, int]
    """Phase → the exit code of its last command; phases that were not reached are missing."""
    output: str
    recorded: list[str]
    """What was asked of make and docker, in order."""


@dataclass
class CodeBuild:
    """A clone, and an AWS to deliver its commits to."""

    clone: Path
    server: RunningServer
    hub_url: str
    revision: str

    def client(self, service: str) -> Any:
        return self.server.client(service)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Engineer", "-c", "user.email=engineer@example.com"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=self.clone, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def model_file(self, name: str) -> Path:
        return self.clone / "config" / "models" / f"{name}.yaml"

    def write_model(self, name: str, *, concurrency: int = 1, change: Callable[[dict[str, Any]], None] | None = None) -> None:
        profile = {
            "kind": "closed_loop",
            "concurrency": concurrency,
            "duration_s": 1,
            "objectives": {"error_rate": {"at_most": 0}},
        }
        content: dict[str, Any] = {
            "weights": {"repository": "test/tiny", "revision": self.revision},
            "serving": {"instance_type": "ml.p5.48xlarge", "tensor_parallel_size": 8},
            "evaluation": {"load_profiles": {"short": profile}},
            "production": {"endpoint": name},
        }
        if change is not None:
            change(content)
        self.model_file(name).write_text(yaml.safe_dump(content))

    def create_endpoint(self, name: str) -> None:
        """An endpoint that goes on starting."""
        sagemaker = self.client("sagemaker")
        role = f"arn:aws:iam::{ACCOUNT}:role/of-the-test"
        sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": f"{REGISTRY}/release-serving:1"}, ExecutionRoleArn=role)
        variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.p5.48xlarge", "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def delivered(self, commit: str) -> None:
        """Say that this commit was the last success."""
        body = json.dumps({"commit": commit, "at": "2026-01-01T00:00:00+00:00"}).encode()
        self.client("s3").put_object(Bucket=BUCKET, Key="state/delivered.json", Body=body)

    def last_success(self) -> str:
        stored = self.client("s3").get_object(Bucket=BUCKET, Key="state/delivered.json")["Body"].read()
        return str(json.loads(stored)["commit"])

    def executions(self, model: str) -> list[dict[str, Any]]:
        sagemaker = self.client("sagemaker")
        try:
            listed = sagemaker.list_pipeline_executions(PipelineName=f"release-{model}")
        except sagemaker.exceptions.ResourceNotFound:
            return []
        return list(listed["PipelineExecutionSummaries"])

    def counts(self, *models: str) -> dict[str, int]:
        return {model: len(self.executions(model)) for model in models}

    def changed(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command alone, as an engineer runs it in the clone."""
        command = [sys.executable, "-m", "pipelines.run", "changed", "--env", "aws", *arguments]
        environment = {**os.environ, **self.server.environment()}
        return subprocess.run(command, cwd=self.clone, env=environment, capture_output=True, text=True, check=False)

    def build(self, **variables: str) -> Build:
        """Run the phases as CodeBuild does: each in its order, the next only when the one before was successful."""
        buildspec = yaml.safe_load((self.clone / "buildspec.yml").read_text())
        record = self.clone.parent / "record"
        record.write_text("")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HF_"))},
            **self.server.environment(BUILD_ROLE),
            **buildspec["env"]["variables"],
            "PATH": f"{self.clone.parent / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.clone.parent),
            "RECORD": str(record),
            "VENV": sys.prefix,
            **variables,
        }
        phases: dict[str, int] = {}
        output = ""
        for phase in ("install", "pre_build", "build"):
            # One shell a build since version 0.2; a command that fails ends its phase.
            script = "\n".join(f"{{ {command}\n}} || exit $?" for command in buildspec["phases"][phase]["commands"])
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self.clone,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            phases[phase], output = done.returncode, output + done.stdout
            if done.returncode != 0:
                break
        return Build(set(phases.values()) == {0}, phases, output, record.read_text().splitlines())


@contextmanager
def codebuild(folder: Path) -> Iterator[CodeBuild]:
    """A clone of this tree with one commit and no model, in which buildspec.yml can be run."""
    clone = folder / "clone"
    for name in _COPIED:
        source, target = ROOT / name, clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (clone / ".venv").symlink_to(sys.prefix)
    for recorder, text in {"docker": _DOCKER, "make": _MAKE}.items():
        path = folder / "bin" / recorder
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    # Jobs end at once and badly, `python -m steps.NAME` finds nothing that works: what counts here is which executions were started.
    broken = folder / "broken" / "steps" / "__init__.py"
    broken.parent.mkdir(parents=True)
    broken.write_text('raise SystemExit("no step works here")\n')
    images = folder / "images.yaml"
    entry = {"match": "*/release-steps:*", "command": ["false"], "environment": {"PYTHONPATH": str(broken.parents[2])}}
    never_ready = {"match": "*/release-serving:*", "command": ["sleep", "600"]}
    images.write_text(yaml.safe_dump({"images": [entry, never_ready]}))
    with running(folder / "state", images) as server, hub(folder / "hub") as (hub_url, revision):
        server.client("s3").create_bucket(Bucket=BUCKET)
        for repository in ("release-steps", "release-serving"):
            server.client("ecr").create_repository(repositoryName=repository, imageTagMutability="IMMUTABLE")
        made = CodeBuild(clone, server, hub_url, revision)
        for file in (clone / "config" / "models").glob("*.yaml"):
            file.unlink()
        _write_environment(made)
        made.git("init", "--quiet", "--initial-branch", "main")
        made.commit("The project")
        yield made
    every_call_is_allowed(calls_of(folder / "state"), BUCKET)


def _write_environment(made: CodeBuild) -> None:
    roles = {
        name: f"arn:aws:iam::{ACCOUNT}:role/release-{name}"
        for name in ("pipeline", "fetch", "evaluate", "promote", "serve", "reap")
    }
    content = {
        "kind": "aws",
        "region": REGION,
        "account_id": ACCOUNT,
        "bucket": BUCKET,
        "roles": roles,
        "images": {"steps": f"{REGISTRY}/release-steps", "serving": f"{REGISTRY}/release-serving"},
        "hub_endpoint": made.hub_url,
    }
    (made.clone / "config" / "environments" / "aws.yaml").write_text(yaml.safe_dump(content))


@contextmanager
def hub(root: Path) -> Iterator[tuple[str, str]]:
    """A Hub with one small repository: its address, and the repository's revision."""
    repository = root / "test" / "tiny"
    repository.mkdir(parents=True)
    (repository / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    (repository / "tokenizer.json").write_text("{}")
    header = json.dumps({"__metadata__": {"name": "tiny"}}).encode()
    (repository / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    command = [sys.executable, "-m", "local_hub", "--root", str(root)]
    listed = subprocess.run([*command, "--list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().removeprefix("HF_ENDPOINT=")
            yield url, next(line.split()[1] for line in listed.splitlines() if line.startswith("test/tiny "))
        finally:
            process.terminate()
