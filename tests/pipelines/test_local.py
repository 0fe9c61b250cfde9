"""The services on this machine: what the command does with them, and what it keeps away from them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from pipelines.setup.local import stack as local
from pipelines.setup.local.service import Service
from tests.local.conftest import ROOT, Stack
from tests.support.waiting import wait_until


def test_nothing_of_the_users_leads_a_local_command_to_aws_or_a_proxy(tmp_path: Path) -> None:
    """Each of these alone made boto3 leave this machine."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nignore_configured_endpoint_urls = true\nuse_fips_endpoint = true\n")
    elsewhere = "http://127.0.0.1:1"
    variables = {
        "AWS_PROFILE": "of-no-file",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        **{f"AWS_ENDPOINT_URL_{name}": elsewhere for name in ("S3", "EVENTBRIDGE", "SECRETS_MANAGER", "SAGEMAKER_RUNTIME")},
        **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), elsewhere),
    }
    stack = Stack(tmp_path)
    kept = {name: value for name, value in stack.environment.items() if name.lower() != "no_proxy"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines.run", *arguments]
        return subprocess.run(command, cwd=ROOT, env={**kept, **variables}, capture_output=True, text=True, check=False)

    try:
        up = run("local", "up")
        assert up.returncode == 0, up.stderr
        assert run("status", "--json").returncode == 0
        asked = run("ask", "smollm2-135m", "Hello?")
        assert "smollm2-135m" in asked.stderr and "not found" in asked.stderr, asked.stderr
    finally:
        run("local", "down")


def test_a_state_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full" / "images.json").mkdir(parents=True)
    for state in ("file", "full"):
        result = Stack(tmp_path / state).run("local", "up")
        assert result.returncode == 1
        assert "set RELEASE_LOCAL_STATE to a folder that can" in result.stderr
        assert result.stderr.count("\n") == 1


def test_production_outlives_a_hub_that_died(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        assert stack.run("local", "up").returncode == 0
        before = stack.services
        os.kill(before["local_hub"]["pid"], signal.SIGKILL)
        assert stack.run("status", "--json").returncode == 0
        assert stack.run("local", "up").returncode == 0
        assert stack.services["sagemaker_local"] == before["sagemaker_local"]
        assert Service(**stack.services["local_hub"]).is_running
    finally:
        stack.run("local", "down")


@pytest.mark.parametrize("record", ['{"sage', "[]", '{"sagemaker_local": {"pid": 1}}'])
def test_a_broken_record_of_the_services_is_one_line(tmp_path: Path, record: str) -> None:
    (tmp_path / "services.json").write_text(record)
    for command in ("up", "down"):
        result = Stack(tmp_path).run("local", command)
        assert result.returncode == 1
        assert "then delete that file" in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("then", ["up", "down"])
def test_who_kills_a_command_that_starts_the_services_can_go_on(tmp_path: Path, then: str) -> None:
    """They were in no record: `up` refused for ever, since one of them held the state folder, and `down` knew of none."""
    stack = Stack(tmp_path)
    record = tmp_path / "services.json"
    starting = subprocess.Popen([sys.executable, "-m", "pipelines.run", "local", "up"], cwd=ROOT, env=stack.environment)
    try:
        wait_until(lambda: record.exists() and "local_hub" in stack.services, "both services are on record")
        assert starting.poll() is None
    finally:
        starting.kill()
        starting.wait()
    left = [Service(**values) for values in stack.services.values()]
    assert all(service.exists for service in left)
    try:
        result = stack.run("local", then)
        assert result.returncode == 0, result.stderr
    finally:
        stopped = stack.run("local", "down").stdout
    assert not any(service.exists for service in left)
    assert "sagemaker_local" in stopped if then == "up" else "nothing was running" in stopped


def test_looking_at_services_that_do_not_answer_does_not_stop_them(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()", "sagemaker_local"], stdin=subprocess.PIPE) as busy:
        service = vars(Service("sagemaker_local", busy.pid, "http://127.0.0.1:1"))
        (tmp_path / "services.json").write_text(json.dumps({"sagemaker_local": service, "local_hub": service}))
        assert local.running(tmp_path) is None
        busy.communicate(b"\n")
    assert busy.returncode == 0


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks /proc")
def test_a_machine_without_ps_knows_its_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", "", "sagemaker_local"])
    assert Service("python", os.getpid()).exists
    assert not Service("sagemaker_local", os.getpid()).exists
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert not Service("sagemaker_local", ended.pid).exists, "only its exit code is left"
    ended.wait()
    assert not Service("sagemaker_local", ended.pid).exists


def test_a_sagemaker_that_ended_meanwhile_is_not_called_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "running", lambda: None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    said = local.explain_lost_connection(EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"))
    assert said is not None
    assert "python -m pipelines.run local up" in said
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://vpce-1.example.com")
    assert local.explain_lost_connection(EndpointConnectionError(endpoint_url="https://vpce-1.example.com")) is None
