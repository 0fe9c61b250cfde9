"""Versions that are registered, evaluated and approved without a release: what promotions and the commands about them start from.

Everything is as the release pipeline leaves it: weights with a manifest and S3's own checksums, the release file named by its digest, the
evaluation's report and its digest on the model package.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from config.environment import Environment
from config.schema import Release
from delivery.aws.accounts import group_policy
from delivery.history.ledger import Event, Ledger
from delivery.names import Fact
from delivery.weights.manifest import Manifest, ManifestFile
from pipelines.definitions.requests import model_package
from sagemaker_local.testing import RunningServer, running
from tests.support import in_process, simulated_engine
from tests.support.forked import start_module
from tests.support.started_step import StartedStep

ROOT = Path(__file__).parents[3]
BUCKET = "release-local"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/release-serving:simulated"
QUICK = {"ttft_ms": 5, "itl_ms": 1, "output_tokens": 4}


@dataclass(frozen=True)
class Version:
    """A version as the release pipeline left it."""

    number: int
    arn: str
    release: Release
    release_file: Path
    report: str
    """The S3 URI of its evaluation."""


@dataclass
class RegistryWorld:
    """A SageMaker on this machine, and short forms of what tests do with it."""

    server: RunningServer
    folder: Path
    environment: Environment
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str, **settings: Any) -> Any:
        if settings:
            return self.server.client(service, **settings)
        return self._clients.setdefault(service, self.server.client(service))

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a process whose AWS is this server."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HF_"))}
        return {**kept, **self.server.environment(), "HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}

    def version(
        self,
        name: str,
        *,
        settings: dict[str, Any] | None = None,
        approved: bool = True,
        verdict: str = "passed",
        evaluated_at: datetime | None = None,
        **production: Any,
    ) -> Version:
        """The next version of a model; `settings` are the simulated engine's, `production` the model file's section."""
        release = self._release(name, {**QUICK, **(settings or {})}, production)
        manifest = self._weights(release, {**QUICK, **(settings or {})})
        release_file = f"s3://{BUCKET}/releases/{name}/{release.sha256}/release.json"
        self.write(release_file, release.to_json().encode())
        sagemaker = self.client("sagemaker")
        groups = sagemaker.list_model_package_groups(NameContains=release.package_group)["ModelPackageGroupSummaryList"]
        if release.package_group not in {group["ModelPackageGroupName"] for group in groups}:
            sagemaker.create_model_package_group(ModelPackageGroupName=release.package_group)
            if policy := group_policy(self.environment, release.package_group):
                sagemaker.put_model_package_group_policy(
                    ModelPackageGroupName=release.package_group, ResourcePolicy=json.dumps(policy)
                )
        execution = uuid.uuid4().hex[:12]
        facts = {
            Fact.EXECUTION: execution,
            Fact.RELEASE_FILE: release_file,
            Fact.REPOSITORY: release.model.weights.repository,
            Fact.REVISION: release.model.weights.revision,
            Fact.WEIGHTS_PREFIX: release.weights_prefix,
            Fact.WEIGHTS_MANIFEST_SHA256: manifest.sha256,
        }
        request = model_package(release, {str(key): value for key, value in facts.items()})
        arn = sagemaker.create_model_package(**request)["ModelPackageArn"]
        at = (evaluated_at or datetime.now(UTC)).isoformat(timespec="seconds")
        report = f"{release.evaluations_prefix}/{execution}/evaluation.json"
        told = {"schema_version": 1, "model_package": arn, "verdict": verdict, "summary": "as prepared", "evaluated_at": at}
        body = json.dumps(told).encode()
        self.write(report, body)
        evaluated = {
            Fact.EVALUATION_VERDICT: verdict,
            Fact.EVALUATION_REPORT: report,
            Fact.EVALUATION_SHA256: hashlib.sha256(body).hexdigest(),
            Fact.EVALUATED_AT: at,
            Fact.IMAGE_DIGEST: self.image_digest,
        }
        sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={str(k): v for k, v in evaluated.items()})
        if approved:
            sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="as prepared")
        local = self.folder / f"release-{uuid.uuid4().hex[:8]}.json"
        local.write_text(release.to_json())
        return Version(int(arn.rsplit("/", 1)[1]), arn, release, local, report)

    @property
    def image_digest(self) -> str:
        """What the serving image's tag means now; the first look pushes an image."""
        ecr = self.client("ecr")
        if not ecr.describe_repositories()["repositories"]:
            ecr.create_repository(repositoryName="release-serving")
            self.push_image("first")
        details = ecr.describe_images(repositoryName="release-serving", imageIds=[{"imageTag": "simulated"}])["imageDetails"]
        digest: str = details[0]["imageDigest"]
        return digest

    def push_image(self, content: str) -> None:
        """Push another image under the serving image's tag."""
        manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []}
        manifest["annotations"] = {"content": content}
        self.client("ecr").put_image(
            repositoryName="release-serving",
            imageManifest=json.dumps(manifest),
            imageDigest=f"sha256:{hashlib.sha256(content.encode()).hexdigest()}",
            imageTag="simulated",
        )

    def start_promotion(self, version: Version, execution: str) -> StartedStep:
        """Start `python -m steps.promote` as the pipeline does."""
        log = self.folder / f"{execution}.log"
        process = start_module("steps.promote", self._arguments(version, execution, ()), self.variables, log)
        return StartedStep(process, self.folder / execution, log)

    def _arguments(self, version: Version, execution: str, more: tuple[str, ...]) -> list[str]:
        output = self.folder / execution
        arguments = ["--release", str(version.release_file), "--model-package", version.arn, "--execution", execution]
        return [*arguments, "--approval", "manual", "--output", str(output), "--message-file", str(output / "message"), *more]

    def promote(self, version: Version, *more: str, execution: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the step to its end, in this process."""
        from delivery.job import frame
        from steps.promote.__main__ import main

        arguments = self._arguments(version, execution or uuid.uuid4().hex[:12], more)
        return in_process.called(lambda: sys.exit(frame.main(main, arguments)), arguments, self.variables)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command, in this process, in an environment of kind aws whose AWS is this server."""
        from pipelines.run import main

        file = self.folder / "environment.yaml"
        file.write_text(yaml.safe_dump(self.environment.model_dump(mode="json")))
        return in_process.called(main, [*arguments, "--env", str(file)], self.variables)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command as a process of its own; otherwise as `run` does."""
        file = self.folder / "environment.yaml"
        file.write_text(yaml.safe_dump(self.environment.model_dump(mode="json")))
        command = [sys.executable, "-m", "pipelines.run", *arguments, "--env", str(file)]
        return subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **self.variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def inside(self, work: Callable[[], None]) -> None:
        """Call something for whose clients AWS is this server."""
        in_process.inside(work, self.variables)

    def ledger(self, name: str) -> list[Event]:
        """The model's ledger; LedgerBroken when its chain does not hold."""
        return Ledger(self.client("s3"), BUCKET, name).events()

    def status(self, version: Version) -> str:
        """A version's approval status."""
        answer: str = self.client("sagemaker").describe_model_package(ModelPackageName=version.arn)["ModelApprovalStatus"]
        return answer

    def read(self, uri: str) -> bytes:
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        body: bytes = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def write(self, uri: str, body: bytes, **options: Any) -> None:
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=body, **options)

    def endpoints(self, sagemaker: Any = None) -> list[str]:
        listed = (sagemaker or self.client("sagemaker")).list_endpoints()["Endpoints"]
        return [endpoint["EndpointName"] for endpoint in listed]

    def _release(self, name: str, settings: dict[str, Any], production: dict[str, Any]) -> Release:
        # The revision stands for the content, so that another content is another prefix.
        revision = hashlib.sha1(f"{name}{json.dumps(settings)}".encode(), usedforsecurity=False).hexdigest()
        profile = {"kind": "closed_loop", "concurrency": 1, "prompt_tokens": 8, "output_tokens": 4, "duration_s": 1.0}
        profile["objectives"] = {"error_rate": {"at_most": 0}}
        return Release.model_validate(
            {
                "name": name,
                "model": {
                    "weights": {"repository": f"test/{name}", "revision": revision},
                    "serving": {
                        "instance_type": "ml.p5.48xlarge",
                        "tensor_parallel_size": 8,
                        "image": IMAGE,
                        "startup_timeout_s": 60,
                    },
                    "evaluation": {"load_profiles": {"short": profile}},
                    "production": {"endpoint": name, **production},
                },
                "environment": self.environment.model_dump(),
                "serving_image": IMAGE,
            }
        )

    def _weights(self, release: Release, settings: dict[str, Any]) -> Manifest:
        """The weights and their manifest, with the checksums that S3 keeps."""
        from awscrt.checksums import crc64nvme

        header = json.dumps({"__metadata__": {"name": release.name}}).encode()
        contents = {
            "config.json": b'{"architectures": ["Qwen3ForCausalLM"]}',
            "model.safetensors": len(header).to_bytes(8, "little") + header,
            "simulated.json": json.dumps(settings).encode(),
        }
        files = []
        for path, body in contents.items():
            checksum = base64.b64encode(crc64nvme(body).to_bytes(8, "big")).decode()
            self.write(release.weights_prefix + path, body, ChecksumCRC64NVME=checksum)
            files.append(
                ManifestFile(
                    path=path,
                    size=len(body),
                    sha256=hashlib.sha256(body).hexdigest(),
                    git_blob_sha1=None,
                    crc64nvme=checksum,
                    crc64nvme_confirmed_by_s3=True,
                )
            )
        manifest = Manifest.of(release.model.weights, files)
        self.write(release.weights_prefix + "manifest.json", manifest.to_json())
        return manifest


@contextmanager
def registry_world(folder: Path, **environment: Any) -> Iterator[RegistryWorld]:
    """A world of its own; `environment` changes the environment file (`production: {…}` for a second account)."""
    images = folder / "images.yaml"
    serving = simulated_engine.image_entry("*/release-serving:*")
    steps = {"match": "*/release-steps:*", "environment": {"PYTHONPATH": str(ROOT)}, "working_directory": str(ROOT)}
    folder.mkdir(parents=True, exist_ok=True)
    images.write_text(yaml.safe_dump({"images": [serving, steps]}))
    content = yaml.safe_load((ROOT / "config/environments/local.yaml").read_text())
    content |= {"kind": "aws", "hub_token_secret": None, **environment}
    with running(folder / "state", images) as server:
        server.client("s3").create_bucket(Bucket=BUCKET)
        yield RegistryWorld(server, folder, Environment.model_validate(content))
