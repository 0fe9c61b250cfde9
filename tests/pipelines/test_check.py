"""`check`: files alone, fast, for people and for programs; and the hook before a commit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from config.loader import ENVIRONMENTS, MODELS
from pipelines.commands.releases import check
from tests.support.cpu_time import costs_at_most

ROOT = Path(__file__).parents[2]
QWEN = (MODELS / "qwen3-32b.yaml").read_text(encoding="utf-8")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pipelines.run", "check", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


BARE = "import typer.rich_utils, pydantic.main, yaml"
"""What every command that reads a model file imports: a third to a half of a second of CPU."""


def test_the_shipped_files_have_no_problem_and_take_less_than_a_second_of_cpu() -> None:
    """A second of a machine that takes 0.4 s for its imports."""

    def found_nothing(done: subprocess.CompletedProcess[str], is_ours: bool) -> None:
        if is_ours:
            count = len([*MODELS.glob("*.yaml"), *ENVIRONMENTS.glob("*.yaml")])
            assert (done.stdout, done.stderr) == ("", f"{count} files: 0 errors, 0 warnings\n")

    costs_at_most(2.5, ["-m", "pipelines.run", "check"], ["-c", BARE], found_nothing)  # 1.6 times here


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory has no such limit")
def test_a_file_of_many_gigabytes_is_one_error_and_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(16 * 2**30)
    done = subprocess.run(
        [sys.executable, "-c", f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, ({4 * 2**30},) * 2); "
         f"sys.argv = ['x', 'check', {str(file)!r}]; runpy.run_module('pipelines.run', run_name='__main__')"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "huge.yaml: error: has more than 262,144 bytes" in done.stdout + done.stderr


def test_it_loads_no_client_of_aws() -> None:
    program = """import sys
from pipelines.commands.releases import check
check.check([], as_json=False)
print(sorted({"boto3", "botocore", "sagemaker", "huggingface_hub"} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_each_problem_has_its_place_its_kind_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, odd = tmp_path / "wrong.yaml", tmp_path / "odd.yaml"
    wrong.write_text(QWEN.replace("duration_s: 300", "duration_s: 300s").replace("approval: manual", "approval: no"))
    checks = QWEN[QWEN.index("  prompt_checks:") : QWEN.index("approval:")]
    odd.write_text(QWEN.replace(checks, ""))
    with pytest.raises(SystemExit) as ended:
        check.check([str(wrong), str(odd)], as_json=True)
    assert ended.value.code == 2
    document = json.loads(capsys.readouterr().out)
    assert document["files"] == [str(wrong), str(odd)]
    first, second, third = document["problems"]
    assert first == {
        "file": str(wrong), "line": 30, "column": 7, "code": "float-type", "severity": "error",
        "message": "evaluation.load_profiles.chat.duration_s: '300s' will not do, expected a valid number; write 300",
    }  # fmt: skip
    assert (second["code"], second["line"]) == ("literal-error", 40)
    assert (third["file"], third["severity"], third["code"]) == (str(odd), "warning", "no-prompt-check")
    assert document["error"].count("\n") == 1


def test_a_warning_alone_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = tmp_path / "odd.yaml"
    odd.write_text(QWEN.replace("ttft_p99_ms: {at_most: 1500}", "ttft_p99_ms: {at_most: 30}"))
    check.check([str(odd)], as_json=False)
    said = capsys.readouterr()
    assert said.out.startswith(f"{odd}:32:")
    assert "warning: evaluation.load_profiles.chat.objectives.ttft_p99_ms.at_most: 30 ms is very little" in said.out
    assert said.err == "1 files: 0 errors, 1 warnings\n"


def test_an_environment_file_anywhere_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prod.yaml"
    file.write_text((ENVIRONMENTS / "aws.yaml").read_text().replace("region: us-west-2", "region: us-west2"))
    with pytest.raises(SystemExit):
        check.check([str(file)], as_json=False)
    assert "[no-such-region]" in capsys.readouterr().out


def test_the_hook_before_a_commit_refuses_a_file_that_cannot_work(tmp_path: Path) -> None:
    """The line of .pre-commit-config.yaml, as pre-commit runs it: with the changed files that its pattern matches."""
    [hook] = [
        one
        for one in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
        if one["id"] == "check-models"
    ]
    words = hook["entry"].split()
    file = tmp_path / "m.yaml"
    file.write_text(QWEN.replace("tensor_parallel_size: 8", "tensor_parallel_size: 16"))
    assert words[0] == ".venv/bin/python"
    done = subprocess.run([sys.executable, *words[1:], str(file)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "16 needs 16 GPUs" in done.stdout
