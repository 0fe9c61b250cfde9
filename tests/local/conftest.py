"""A whole local stack for tests: `sagemaker_local`, `local_hub`, and the command, in a state folder of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from sagemaker_local.session import make_client
from tests.infra.audit import calls_of, every_call_is_allowed
from tests.support import in_process
from tests.support.forked import start_module

ROOT = Path(__file__).parents[2]
SIMULATED_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/release-serving:simulated"
REGION = "us-east-1"


@dataclass
class Stack:
    """One state folder and the command that works in it."""

    state: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HF_"))}
        return {**kept, "RELEASE_LOCAL_STATE": str(self.state), "HOME": str(self.state)}

    def up(self) -> None:
        """Start the services, once, for steps whose suite is not the subject."""
        log = self.state / "up.log"
        assert start_module("tests.local.up", [], self.environment, log).wait() == 0, log.read_text()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, as a process."""
        return subprocess.run(
            [sys.executable, "-m", "pipelines.run", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run_here(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command in this process, once the stack is up: what it starts belongs to a process that ends. For what is not about processes."""
        from pipelines.run import main
        from pipelines.setup.local import stack

        with (
            mock.patch.object(stack.running, "__defaults__", (self.state,)),
            mock.patch.object(stack.up, "__defaults__", (self.state,)),
        ):
            return in_process.called(main, [*arguments], self.environment)

    def release(self, model: str) -> dict[str, Any]:
        """Release a model that must succeed; returns the command's JSON."""
        result = self.run(model, "--json")
        assert result.returncode == 0, result.stderr + result.stdout
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    @property
    def services(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((self.state / "services.json").read_text())
        return answer

    def client(self, service: str) -> Any:
        return make_client(
            service,
            region_name=REGION,
            endpoint_url=self.services["sagemaker_local"]["url"],
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def endpoints(self) -> list[str]:
        return [endpoint["EndpointName"] for endpoint in self.client("sagemaker").list_endpoints()["Endpoints"]]

    def versions(self, model: str) -> list[dict[str, Any]]:
        """The versions of a model, oldest first."""
        listed = self.client("sagemaker").list_model_packages(ModelPackageGroupName=f"release-{model}")["ModelPackageSummaryList"]
        return sorted(listed, key=lambda package: int(package["ModelPackageVersion"]))

    def simulated_model(
        self,
        name: str,
        *,
        settings: dict[str, Any],
        change: Callable[[dict[str, Any]], None] | None = None,
        hub: dict[str, Any] | None = None,
    ) -> str:
        """A model file, and a repository for it, that the simulated engine serves as `settings` say; returns the file's path.

        `change` may change the model file's content before it is written; `hub` is what the Hub knows of the repository (gated).
        """
        repository = self.state / "hub" / "test" / name
        repository.mkdir(parents=True, exist_ok=True)
        (repository / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
        (repository / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
        header = json.dumps({"__metadata__": {"name": name}}).encode()
        (repository / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        (repository / "simulated.json").write_text(json.dumps(settings))
        if hub:
            (repository / ".hub.json").write_text(json.dumps(hub))
        content: dict[str, Any] = {
            "weights": {"hub": "local", "repository": f"test/{name}", "revision": self._revision(f"test/{name}")},
            "serving": {
                "instance_type": "ml.p5.48xlarge",
                "tensor_parallel_size": 8,
                "image": SIMULATED_IMAGE,
                "sglang": {"max-running-requests": 64},
                "startup_timeout_s": 180,
            },
            "evaluation": {
                "max_runtime_s": 300,
                "client_lag_at_most_ms": 1000,  # the machine has other things to do while tests run
                "load_profiles": {
                    "short": {
                        "kind": "closed_loop",
                        "concurrency": 8,
                        "prompt_tokens": 32,
                        "output_tokens": 16,
                        "warmup_s": 0.2,
                        "duration_s": 1.0,
                        "objectives": {"ttft_p50_ms": {"at_most": 2000}, "error_rate": {"at_most": 0}},
                    }
                },
            },
            "approval": "automatic",
            "production": {"endpoint": name},
        }
        if change is not None:
            change(content)
        for profile in content["evaluation"]["load_profiles"].values():
            if profile["kind"] == "closed_loop":  # where other tests have the processor, a second may be a few requests
                profile["duration_at_most_s"] = 16 * profile["duration_s"]
        file = self.state / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content))
        return str(file)

    def _revision(self, repository: str) -> str:
        listed = subprocess.run(
            [sys.executable, "-m", "local_hub", "--root", str(self.state / "hub"), "--list"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return next(line.split()[1] for line in listed.splitlines() if line.startswith(f"{repository} "))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that a module's tests share; stopped with all that it started."""
    shared = Stack(tmp_path_factory.mktemp("stack"))
    yield shared
    shared.run("local", "down")
    if (shared.state / "sagemaker" / "calls.jsonl").exists():
        every_call_is_allowed(calls_of(shared.state / "sagemaker"), "release-local")
