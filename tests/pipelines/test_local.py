"""The services on this machine: what the command does with them, and what it keeps away from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.local.conftest import ROOT, Stack


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
