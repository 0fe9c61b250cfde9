"""`environment`: a stack's outputs reach the environment file; what a person wrote stays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.loader import ENVIRONMENTS, load_environment
from pipelines.setup.environment_file import _OUTPUTS, EXAMPLE_ACCOUNT, Setting, merge
from sagemaker_local.testing import RunningServer, running
from tests.pipelines.test_snapshots import ROOT, _Templates

ACCOUNT, REGION = "123456789012", "us-east-1"
ROLES = {name: f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("Pipeline", "Fetch", "Evaluate", "Promote", "Serve", "Reap")}
OUTPUTS = {
    "Bucket": f"release-{ACCOUNT}-{REGION}",
    "KmsKey": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k",
    **{f"{name}Role": arn for name, arn in ROLES.items()},
    "StepsRepository": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/release-steps",
    "ServingRepository": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/release-serving",
    "HubTokenSecret": "release/hugging-face-token",
    "Subnets": "subnet-00000001,subnet-00000002",
    "SecurityGroups": "sg-00000001",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("environment")) as started:
        outputs = {name: {"Value": value} for name, value in OUTPUTS.items()}
        topic = {"Topic": {"Type": "AWS::SNS::Topic"}}
        cloudformation = started.client("cloudformation")
        cloudformation.create_stack(StackName="release", TemplateBody=json.dumps({"Resources": topic, "Outputs": outputs}))
        cloudformation.create_stack(StackName="another", TemplateBody=json.dumps({"Resources": topic}))
        yield started


def command(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.run", "environment", *arguments],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", **server.environment()}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_shipped_file_becomes_the_stacks(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "aws.yaml"
    file.write_text((ROOT / "tests/pipelines/environments/example.yaml").read_text())
    shown = command(server, "release", "--file", str(file), "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"account_id: {EXAMPLE_ACCOUNT} → {ACCOUNT}" in shown.stdout
    assert EXAMPLE_ACCOUNT in file.read_text()  # it was only shown
    assert command(server, "release", "--file", str(file)).returncode == 0
    text, written = file.read_text(), load_environment(str(file))
    assert EXAMPLE_ACCOUNT not in text
    assert (written.account_id, written.region, written.bucket) == (ACCOUNT, REGION, OUTPUTS["Bucket"])
    assert written.roles.reap == ROLES["Reap"]
    assert written.kms_key == OUTPUTS["KmsKey"]
    assert (written.subnets, written.security_groups) == (["subnet-00000001", "subnet-00000002"], ["sg-00000001"])
    assert "# only gated repositories need it" in text
    assert written.inference_ami_version == "al2023-ami-sagemaker-inference-gpu-4-1"
    again = command(server, "release", "--file", str(file))
    assert (again.returncode, again.stdout) == (0, f"{file}: nothing to write\n")
    assert file.read_text() == text


def test_what_a_person_wrote_is_kept_and_said_until_told_otherwise(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "aws.yaml"
    file.write_text((ROOT / "tests/pipelines/environments/example.yaml").read_text())
    command(server, "release", "--file", str(file))
    mine = file.read_text().replace(f"bucket: {OUTPUTS['Bucket']}", "bucket: mine-since-2019   # ask Ada")
    mine = mine.replace("/release-steps ", "/release-steps:pinned ") + "tags: {owner: ada}\n"
    file.write_text(mine)
    kept = command(server, "release", "--file", str(file))
    assert kept.returncode == 1
    assert f"bucket: mine-since-2019 stays, though the stack says {OUTPUTS['Bucket']}" in kept.stdout
    assert "--overwrite" in kept.stderr
    assert file.read_text() == mine
    assert command(server, "release", "--file", str(file), "--overwrite").returncode == 0
    assert f"bucket: {OUTPUTS['Bucket']}   # ask Ada" in file.read_text()
    assert load_environment(str(file)).tags == {"owner": "ada"}
    assert load_environment(str(file)).images.steps.endswith("/release-steps:pinned")


@pytest.mark.parametrize(
    ("stack", "says"), [("absent", "there is no stack 'absent'"), ("another", "is no stack of infra/delivery.yaml")]
)
def test_a_stack_that_is_not_ours_is_refused(server: RunningServer, tmp_path: Path, stack: str, says: str) -> None:
    file = tmp_path / "aws.yaml"
    file.write_text((ROOT / "tests/pipelines/environments/example.yaml").read_text())
    result = command(server, stack, "--file", str(file))
    assert result.returncode == 2
    assert says in result.stderr
    assert EXAMPLE_ACCOUNT in file.read_text()


def test_every_output_that_it_reads_is_one_of_the_templates() -> None:
    template = yaml.load((ROOT / "infra" / "delivery.yaml").read_text(encoding="utf-8"), _Templates)
    assert set(_OUTPUTS.values()) <= set(template["Outputs"])


@pytest.mark.parametrize(
    ("text", "setting", "value", "expected"),
    [
        ("a: 1 # one\nb: 2\n", ("a",), "x", "a: x # one\nb: 2\n"),
        ("a: 1\n", ("b",), ["x", "y"], "a: 1\nb: [x, y]\n"),
        ("a: 1", ("b",), "123456789012", 'a: 1\nb: "123456789012"\n'),
        ("r:\n  a: 1   # one\n\nz: 1\n", ("r", "b"), "x", "r:\n  a: 1   # one\n  b: x\n\nz: 1\n"),
        ("a: 1\n", ("r", "b"), "x", "a: 1\nr:\n  b: x\n"),
        ("s:\n  - old\n  - older\nz: 1\n", ("s",), ["new"], "s:\n  [new]\nz: 1\n"),
        ("s: [old, older]  # mine\nz: 1\n", ("s",), ["new"], "s: [new]  # mine\nz: 1\n"),
        ("a: 1\n# the end\n", ("b",), "x", "a: 1\nb: x\n# the end\n"),
    ],
)
def test_only_the_setting_changes(text: str, setting: Setting, value: Any, expected: str) -> None:
    changes, merged = merge(text, {setting: value}, overwrite=True)
    assert merged == expected
    assert len(changes) == 1
    again, same = merge(merged, {setting: value}, overwrite=False)
    assert (again, same) == ([], merged)


def test_the_shipped_file_is_the_one_that_these_tests_begin_with() -> None:
    shipped = (ENVIRONMENTS / "aws.yaml").read_text()
    if EXAMPLE_ACCOUNT in shipped:  # not so where somebody has filled it in
        assert (ROOT / "tests/pipelines/environments/example.yaml").read_text() == shipped
