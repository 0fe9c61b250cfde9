"""Whole releases on this machine, attacked: the first one of a model, the next one of a model in production, two at once."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from delivery.aws.s3 import S3Uri
from delivery.history.ledger import Ledger
from delivery.history.serving_history import DeployedVersion, serving_lineage
from delivery.names import PROMOTION_PIPELINE
from delivery.weights import manifest
from tests.faults.injector import Injection
from tests.faults.plan import Case
from tests.faults.runner import Result
from tests.faults.whole.sagemaker_local import PATH
from tests.local.conftest import Stack
from tests.support.forked import ROOT, start_anew
from tests.support.waiting import WHOLE_SYSTEM_S, wait_until

FIRST, NEXT, TWICE = "first-release", "next-release", "two-releases"
_FAULTS = ("denied", "throttled", "500", "reset", "lost-answer", "expired", "cut-off", "killed", "terminated", "server-killed")
_OF_SAGEMAKER = ("release-pipeline", "release-serve")
"""Roles in which SageMaker itself calls: its own faults are not ours."""
_BUCKET = "release-local"
_SETTINGS = {"ttft_ms": 5, "itl_ms": 1, "output_tokens": 16, "answers": {"capital": "It is Paris. a b c d e f g h i"}}
_QUESTION = [{"prompt": "What is the capital of France?", "expect": "Paris"}]


@dataclass
class AttackedStack:
    """A stack of its own, whose SageMaker fails what it is told to."""

    stack: Stack
    models: dict[str, str] = field(default_factory=dict)
    """Model files, by the models' names."""

    def up(self) -> None:
        """Start what does not run."""
        log = self.stack.state / "up.log"
        code = start_anew("tests.faults.whole.up", [], self.stack.environment, log).wait()
        assert code == 0, log.read_text()

    def arm(self, injection: Injection | None) -> None:
        """Let the layer forget what was, and fail that."""
        self._ask(json.dumps(asdict(injection) if injection else None).encode())

    def let_be(self) -> None:
        """Let the fault be over; a SageMaker that was killed is started again."""
        try:
            self.arm(None)
        except OSError:
            self.up()
            self.arm(None)

    def record(self) -> Mapping[tuple[str, str], int]:
        """How many calls of each name each caller made since."""
        return {(caller, call): number for caller, call, number in self._ask()["record"]}

    def struck(self) -> bool:
        """Whether a call was failed; one that took the server with it was."""
        try:
            return bool(self._ask()["struck"])
        except OSError:
            return True

    def _ask(self, body: bytes | None = None) -> dict[str, Any]:
        url = self.stack.services["sagemaker_local"]["url"] + PATH
        with urllib.request.urlopen(urllib.request.Request(url, data=body)) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def model(self, name: str) -> str:
        """A model file that every release of it passes."""

        def change(content: dict[str, Any]) -> None:
            content["evaluation"]["load_profiles"]["short"].update(duration_s=0.5, warmup_s=0.1)
            content["evaluation"]["prompt_checks"] = _QUESTION
            content["production"]["lease"] = {"wait_s": 60, "expires_s": 5}

        if name not in self.models:
            self.models[name] = self.stack.simulated_model(name, settings=_SETTINGS, change=change)
        return self.models[name]

    def release(self, name: str) -> subprocess.CompletedProcess[str]:
        """Release the model, by the command."""
        return self.stack.run_here(self.model(name))

    def wait_for_promotions(self) -> None:
        """Until no promotion is under way."""
        sagemaker = self.stack.client("sagemaker")

        def all_over() -> bool:
            listed = sagemaker.list_pipeline_executions(PipelineName=PROMOTION_PIPELINE)["PipelineExecutionSummaries"]
            return not [one for one in listed if one["PipelineExecutionStatus"] in {"Executing", "Stopping"}]

        wait_until(all_over, "every promotion is over", WHOLE_SYSTEM_S)

    def reap(self) -> subprocess.CompletedProcess[str]:
        """One pass of the reaper, as the account's owner."""
        environment = {**self.stack.environment, "AWS_ENDPOINT_URL": self.stack.services["sagemaker_local"]["url"]}
        environment |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        command = [sys.executable, "-m", "steps.reap", "--region", "us-east-1"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    def broken_promises(self, name: str) -> Iterator[str]:
        """Yield what is wrong once everything is over."""
        client, sagemaker = self.stack.client("s3"), self.stack.client("sagemaker")
        lineage = serving_lineage(Ledger(client, _BUCKET, name).events())
        try:
            endpoint = sagemaker.describe_endpoint(EndpointName=name)
        except sagemaker.exceptions.ClientError:
            endpoint = {}
        recorded = DeployedVersion.of(lineage[-1]).config if lineage else None
        if (endpoint.get("EndpointConfigName"), endpoint.get("EndpointStatus")) != (recorded, "InService"):
            yield f"the ledger says {recorded}, the endpoint is {endpoint.get('EndpointStatus')} with {endpoint.get('EndpointConfigName')}"
            return
        number = re.search(r"-v(\d+)-", str(recorded))
        served = [one for one in self.stack.versions(name) if number and one["ModelPackageVersion"] == int(number[1])]
        if [one["ModelApprovalStatus"] for one in served] != ["Approved"]:
            yield f"production serves {recorded}, whose version is {served}"
        yield from self._weights_are_whole(served)

    def _weights_are_whole(self, served: list[dict[str, Any]]) -> Iterator[str]:
        client = self.stack.client("s3")
        for one in served:
            package = self.stack.client("sagemaker").describe_model_package(ModelPackageName=one["ModelPackageArn"])
            prefix = package["CustomerMetadataProperties"]["weights:prefix"]
            found = manifest.read(client, S3Uri.parse(prefix))
            if found is None:
                yield f"{prefix} has no manifest"
                continue
            for file in found[0].files:
                head = client.head_object(Bucket=_BUCKET, Key=prefix.removeprefix(f"s3://{_BUCKET}/") + file.path)
                if head["ContentLength"] != file.size:
                    yield f"{file.path} has {head['ContentLength']} bytes, the manifest says {file.size}"

    def left(self) -> list[str]:
        """List what is there of staging, and not on its way out."""
        sagemaker = self.stack.client("sagemaker")
        endpoints = [e["EndpointName"] for e in sagemaker.list_endpoints()["Endpoints"] if e["EndpointStatus"] != "Deleting"]
        configs = [one["EndpointConfigName"] for one in sagemaker.list_endpoint_configs()["EndpointConfigs"]]
        models = [one["ModelName"] for one in sagemaker.list_models()["Models"]]
        return [name for name in (*endpoints, *configs, *models) if name.startswith("staging-")]


@contextmanager
def attacked_stack(folder: Path) -> Iterator[AttackedStack]:
    """A stack that is up, and stopped at the end."""
    made = AttackedStack(Stack(folder))
    made.up()
    try:
        yield made
    finally:
        made.stack.run("local", "down")


def cases(scenario: str, record: Mapping[tuple[str, str], int]) -> list[Case]:
    """Make every case of a whole release: each caller's first and last call of each name, each fault, once and for good."""
    found = []
    for (caller, call), number in record.items():
        for fault in _FAULTS:
            is_persons = caller == "person" and fault in {"killed", "terminated"}  # the command is in this process
            if caller in _OF_SAGEMAKER or is_persons:
                continue
            for first in sorted({1, number}):
                lasting = (False, True) if fault in {"denied", "throttled", "500", "reset", "lost-answer"} else (False,)
                found += [Case(scenario, Injection(caller, call, fault, first, lasts), "other") for lasts in lasting]
    return found


def planned(attacked: AttackedStack) -> list[Case]:
    """Release a model twice without a fault, for the record of both; what would be lost without one is an error."""
    found: list[Case] = [Case(TWICE, Injection("person", "release", "two-at-once", 1, lasts=False), "other")]
    for scenario in (FIRST, NEXT):
        attacked.arm(None)
        result = attacked.release("steady")
        record = attacked.record()
        attacked.wait_for_promotions()
        problems = [*attacked.broken_promises("steady"), *attacked.left()]
        assert result.returncode == 0 and not problems, f"a release fails without a fault: {problems}\n{result.stderr}"
        found += cases(scenario, record)
    return found


def examine(attacked: AttackedStack, case: Case) -> Result | None:
    """Do one case; what was lost. None where the call to fail was not made: how often something is polled is the machine's affair."""
    name = "steady" if case.scenario == NEXT else f"model-{random.SystemRandom().randrange(10**8)}"
    attacked.model(name)
    if case.scenario == TWICE:
        return Result(case, list(_two_at_once(attacked, name)))
    attacked.arm(case.injection)
    ended = attacked.release(name)
    if not attacked.struck():
        return None
    attacked.let_be()
    attacked.wait_for_promotions()
    problems = [f"after it: {problem}" for problem in _wrong_words(ended)]
    again = attacked.release(name)
    attacked.wait_for_promotions()
    problems += [f"after the next run: {problem}" for problem in _wrong_words(again)]
    if again.returncode:
        problems.append(f"the run after it ended with {again.returncode}: {again.stderr[-600:]}")
    problems += [f"after the next run: {problem}" for problem in attacked.broken_promises(name)]
    reaped = attacked.reap()
    if reaped.returncode or attacked.left():
        problems.append(f"left after one pass of the reaper: {attacked.left()}; {reaped.stderr[-300:]}")
    return Result(case, problems)


def _two_at_once(attacked: AttackedStack, name: str) -> Iterator[str]:
    attacked.arm(None)
    command = [sys.executable, "-m", "pipelines.run", attacked.model(name)]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, env=attacked.stack.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    for process in both:
        text, _ = process.communicate()
        if process.returncode or "Traceback" in text:
            yield f"one of two ended with {process.returncode}: {text[-600:]}"
    attacked.wait_for_promotions()
    yield from attacked.broken_promises(name)


def _wrong_words(ended: subprocess.CompletedProcess[str]) -> Iterator[str]:
    if "Traceback" in ended.stderr:
        yield f"it ended with a traceback: {ended.stderr[-800:]}"
    if ended.returncode and "error: " not in ended.stderr:
        yield f"exit code {ended.returncode} without a message: {ended.stderr[-300:]}"
