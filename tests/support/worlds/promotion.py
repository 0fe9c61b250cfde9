"""Versions that passed their evaluation and were approved, and promotions of them: against a fake AWS in this process, or a real server.

`PromotionWorld` is the same for both: what differs only in a refusal is asked of the fake, in milliseconds. `ServedPromotions` adds what
takes a server: the step as a process, traffic, kills.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol
from unittest import mock

import pytest
import yaml

from config.schema import Release
from delivery.errors import DeliveryError
from delivery.history.ledger import Event, Ledger
from delivery.names import Fact
from pipelines.definitions.requests import model_package
from sagemaker_local.testing import RunningServer
from steps.promote import step
from steps.promote.models import Intent, Promotion, PromotionArguments
from tests.infra.audit import every_call_is_allowed
from tests.support.clients import ONCE, new_default_session, sturdy
from tests.support.fake_aws import FakeAws
from tests.support.fake_aws.s3 import crc64nvme
from tests.support.forked import start_module
from tests.support.started_step import StartedStep
from tests.support.waiting import wait_until
from tests.support.worlds.evaluation import BUCKET, IMAGE, ROOT, closed_loop, evaluation_world
from tests.support.worlds.simulated_weights import simulated_weights

QUICK = {"ttft_ms": 10, "itl_ms": 5, "output_tokens": 12}
QUESTION = "Which version are you?"
ALL_AT_ONCE = {"strategy": "all_at_once"}
_numbers = itertools.count(1)


@dataclass
class Version:
    """A version as the registry has it, approved."""

    release: Release
    arn: str
    file: Path

    @property
    def number(self) -> int:
        return int(self.arn.rsplit("/", 1)[1])

    @property
    def endpoint(self) -> str:
        return self.release.model.production.endpoint


class Account(Protocol):
    """An AWS account: a fake one, or a server's."""

    def client(self, service: str) -> Any:
        """Return a client of a service, as the account's owner."""

    def acting_as(self, role_arn: str) -> AbstractContextManager[None]:
        """Let boto3 make clients in that role."""


@dataclass
class ServersAccount:
    """The account of a sagemaker_local."""

    server: RunningServer
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """Return a client of a service, as the account's owner."""
        if service not in self._clients:
            self._clients[service] = sturdy(self.server.client(service, config=ONCE))
        return self._clients[service]

    @contextmanager
    def acting_as(self, role_arn: str) -> Iterator[None]:
        """Let boto3 make clients in that role."""
        with mock.patch.dict(os.environ, self.server.environment(role_arn)), new_default_session():
            yield


@dataclass
class PromotionRun(StartedStep):
    """One start of the step."""

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def message(self) -> str:
        """What SageMaker shows as the job's ExitMessage."""
        return (self.output / "message").read_text()

    @property
    def promotion(self) -> Promotion:
        return Promotion.model_validate_json((self.output / "promotion.json").read_bytes())


@dataclass
class PromotionWorld:
    """An account, and short forms of what tests do with it."""

    account: Account
    folder: Path

    def client(self, service: str) -> Any:
        return self.account.client(service)

    def name(self) -> str:
        """A model's name that no other test has."""
        return f"model-{next(_numbers)}"

    def version(
        self,
        name: str,
        *,
        settings: dict[str, Any] | None = None,
        verdict: str = "passed",
        age: timedelta = timedelta(0),
        status: str = "Approved",
        evaluated: bool = True,
        prompt_checks: list[dict[str, Any]] | None = None,
        image: str = IMAGE,
        more_facts: dict[str, str] | None = None,
        serving: dict[str, Any] | None = None,
        **production: Any,
    ) -> Version:
        """Register, evaluate (on paper) and approve the model's next version; its engine answers `QUESTION` with `version N`."""
        number = len(self._versions(name)) + 1
        engine = {**QUICK, "answers": {QUESTION: " ".join(["version", str(number), *"abcdefghij"])}, **(settings or {})}
        release = self._release(name, number, prompt_checks, image, serving or {}, production)
        facts = {**self._weights(release, engine), **(more_facts or {})}
        release_file = f"releases/{name}/{release.sha256}/release.json"
        self._put(release, release_file, release.to_json().encode())
        facts[Fact.RELEASE_FILE] = f"s3://{release.environment.bucket}/{release_file}"
        sagemaker = self.client("sagemaker")
        if number == 1:
            sagemaker.create_model_package_group(ModelPackageGroupName=release.package_group)
        arn = sagemaker.create_model_package(**model_package(release, facts))["ModelPackageArn"]
        version = Version(release, arn, self.folder / f"release-{uuid.uuid4().hex[:8]}.json")
        version.file.write_text(release.to_json())
        if evaluated:
            self._evaluate(version, verdict, age, status)
        return version

    def _evaluate(self, version: Version, verdict: str, age: timedelta, status: str) -> None:
        """Note a verdict on a version, and what was decided then."""
        release, arn = version.release, version.arn
        evaluated_at = (datetime.now(UTC) - age).isoformat(timespec="seconds")
        report = json.dumps({"verdict": verdict, "model_package": arn, "evaluated_at": evaluated_at}).encode()
        key = f"evaluations/{release.name}/{uuid.uuid4().hex[:8]}/evaluation.json"
        self._put(release, key, report)
        self.client("sagemaker").update_model_package(
            ModelPackageArn=arn,
            ModelApprovalStatus=status,
            CustomerMetadataProperties={
                Fact.EVALUATION_REPORT: f"s3://{release.environment.bucket}/{key}",
                Fact.EVALUATION_SHA256: hashlib.sha256(report).hexdigest(),
                Fact.EVALUATION_VERDICT: verdict,
                Fact.EVALUATED_AT: evaluated_at,
            },
        )

    def _versions(self, name: str) -> list[Any]:
        sagemaker = self.client("sagemaker")
        groups = sagemaker.list_model_package_groups(NameContains=f"release-{name}", MaxResults=100)
        if f"release-{name}" not in {group["ModelPackageGroupName"] for group in groups["ModelPackageGroupSummaryList"]}:
            return []
        listed: list[Any] = sagemaker.list_model_packages(ModelPackageGroupName=f"release-{name}")["ModelPackageSummaryList"]
        return listed

    def _release(
        self,
        name: str,
        number: int,
        prompt_checks: list[dict[str, Any]] | None,
        image: str,
        serving: dict[str, Any],
        production: dict[str, Any],
    ) -> Release:
        expected = [{"prompt": QUESTION, "expect": f"version {number} "}]
        return Release.model_validate(
            {
                "name": name,
                "model": {
                    "weights": {
                        "hub": "local",
                        "repository": f"test/{name}",
                        "revision": hashlib.sha1(f"{name} {number}".encode(), usedforsecurity=False).hexdigest(),
                    },
                    "serving": {
                        "instance_type": "ml.p5.48xlarge",
                        "tensor_parallel_size": 8,
                        "image": image,
                        "startup_timeout_s": 60,
                        **serving,
                    },
                    "evaluation": {
                        "load_profiles": {"short": closed_loop()},
                        "prompt_checks": expected if prompt_checks is None else prompt_checks,
                    },
                    "production": {"endpoint": name, "update": ALL_AT_ONCE, **production},
                },
                "environment": yaml.safe_load((ROOT / "config/environments/local.yaml").read_text()),
                "serving_image": image,
            }
        )

    def _weights(self, release: Release, engine: dict[str, Any]) -> dict[str, str]:
        manifest, files = simulated_weights(release, engine)
        prefix = release.weights_prefix.removeprefix(f"s3://{release.environment.bucket}/")
        for path, body in files.items():
            self._put(release, prefix + path, body)
        self._put(release, prefix + "manifest.json", manifest.to_json())
        return {Fact.WEIGHTS_PREFIX: release.weights_prefix, Fact.WEIGHTS_MANIFEST_SHA256: manifest.sha256}

    def _put(self, release: Release, key: str, body: bytes) -> None:
        self.client("s3").put_object(
            Bucket=release.environment.bucket,
            Key=key,
            Body=body,
            ChecksumAlgorithm="CRC64NVME",
            ChecksumCRC64NVME=crc64nvme(body),
        )

    def serve(
        self,
        version: Version,
        *,
        intent: Intent = "promotion",
        execution: str | None = None,
        approval: Literal["manual", "automatic"] = "manual",
        ledger_seen: int | None = None,
    ) -> Promotion:
        """Promote, roll back to it, or retire it, in this process."""
        execution = execution or uuid.uuid4().hex[:12]
        with self.account.acting_as(version.release.environment.roles.promote):
            return step.run(
                PromotionArguments(
                    version.release, version.arn, execution, approval, self.folder / execution, intent, ledger_seen=ledger_seen
                )
            )

    def refused(self, version: Version) -> str:
        """Promote in this process a version that must be refused; why it was, which the ledger says, too."""
        with pytest.raises(DeliveryError) as caught:
            self.serve(version)
        last = self.events(version)[-1]
        assert (last.kind, last.version, last.details["reason"]) == ("refused", version.number, str(caught.value))
        return str(caught.value)

    def events(self, version: Version) -> list[Event]:
        """The model's ledger, verified."""
        return self.ledger(version).events()

    def ledger(self, version: Version) -> Ledger:
        """The model's ledger."""
        return Ledger(self.client("s3"), version.release.environment.bucket, version.release.name)

    def endpoint(self, name: str) -> dict[str, Any] | None:
        """DescribeEndpoint's answer without its date, None when there is none."""
        sagemaker = self.client("sagemaker")
        try:
            described: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=name)
        except sagemaker.exceptions.ClientError as error:
            assert "Could not find" in str(error)
            return None
        described.pop("ResponseMetadata", None)
        return described

    def config(self, name: str) -> dict[str, Any]:
        """The endpoint config that an endpoint serves."""
        served = (self.endpoint(name) or {})["EndpointConfigName"]
        described: dict[str, Any] = self.client("sagemaker").describe_endpoint_config(EndpointConfigName=served)
        return described

    def autoscaling(self, name: str) -> dict[str, Any] | None:
        """The scalable target of an endpoint, with its policies; None when it has none."""
        scaling = self.client("application-autoscaling")
        resource = f"endpoint/{name}/variant/AllTraffic"
        targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource])["ScalableTargets"]
        policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource)["ScalingPolicies"]
        return {**targets[0], "policies": policies} if targets else None

    def definitions(self, name: str) -> list[str]:
        """Every endpoint config, model and alarm of a model's production that is there."""
        prefix = f"production-{name}-v"
        sagemaker, cloudwatch = self.client("sagemaker"), self.client("cloudwatch")
        configs = sagemaker.list_endpoint_configs(NameContains=prefix, MaxResults=100)["EndpointConfigs"]
        models = sagemaker.list_models(NameContains=prefix, MaxResults=100)["Models"]
        alarms = cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
        return sorted(
            [
                *(config["EndpointConfigName"] for config in configs),
                *(model["ModelName"] for model in models),
                *(alarm["AlarmName"] for alarm in alarms),
            ]
        )


@dataclass
class ServedPromotions(PromotionWorld):
    """The same against a sagemaker_local, whose endpoints are processes."""

    server: RunningServer

    def start(self, version: Version, *more: str, execution: str | None = None, approval: str = "manual") -> PromotionRun:
        """Start the step as the pipeline does."""
        execution = execution or uuid.uuid4().hex[:12]
        output = self.folder / f"{execution}-{uuid.uuid4().hex[:6]}"
        log = output.with_suffix(".log")
        arguments = [
            *("--release", str(version.file), "--model-package", version.arn, "--execution", execution),
            *("--approval", approval, "--output", str(output), "--message-file", str(output / "message")),
        ]
        environment = {**os.environ, **self.server.environment(version.release.environment.roles.promote)}
        process = start_module("steps.promote", [*arguments, *more], environment, log)
        return PromotionRun(process, output, log)

    def promote(self, version: Version, *more: str, execution: str | None = None) -> PromotionRun:
        """Run the step to its end, which must be a good one."""
        run = self.start(version, *more, execution=execution)
        assert run.wait() == 0, run.text
        return run

    def refuse(self, version: Version, *more: str, execution: str | None = None) -> PromotionRun:
        """Run the step to its end, which must be a refusal: exit code 1, its reason as the message and in the ledger."""
        run = self.start(version, *more, execution=execution)
        assert run.wait() == 1, run.text
        last = self.events(version)[-1]
        assert (last.kind, last.version) == ("refused", version.number)
        assert str(last.details["reason"])[:1024] == run.message
        assert "Traceback" not in run.text
        return run

    def clean_up(self) -> None:
        """Delete all endpoints, so that their processes end."""
        sagemaker = self.client("sagemaker")

        def is_gone(endpoint: str) -> bool:
            if not self.endpoint(endpoint):
                return True
            with suppress(sagemaker.exceptions.ClientError):  # it is changing
                sagemaker.delete_endpoint(EndpointName=endpoint)
            return False

        for endpoint in sagemaker.list_endpoints(MaxResults=100)["Endpoints"]:
            name = endpoint["EndpointName"]
            wait_until(lambda name=name: is_gone(name), f"{name} is gone")  # type: ignore[misc]


@contextmanager
def served_promotions(folder: Path) -> Iterator[ServedPromotions]:
    """A server of its own."""
    with evaluation_world(folder) as base:
        yield ServedPromotions(ServersAccount(base.server), folder, base.server)


@contextmanager
def fake_promotions(folder: Path) -> Iterator[PromotionWorld]:
    """A fake account of its own; what was called is held against the roles when it ends."""
    aws = FakeAws()
    yield PromotionWorld(aws, folder)
    every_call_is_allowed(aws.calls, BUCKET)
