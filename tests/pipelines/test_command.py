"""The command as a person meets it: help, mistakes, exit codes. What it does when all is well is in tests/local."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.loader import MODELS
from pipelines import diagnostics
from pipelines.resolution import SUBCOMMANDS
from tests.support.cpu_time import costs_at_most

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_without_arguments_it_explains_itself_in_five_lines() -> None:
    result = command()
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 5
    assert "python -m pipelines.run MODEL" in result.stdout


BARE = "import typer; app = typer.Typer(); app.command()(lambda: None); app.command('status')(lambda: None); app()"
"""The least that such a command can be: typer and nothing of ours."""


@pytest.mark.parametrize("subcommand", ["", *sorted(SUBCOMMANDS - {"local"}), "local up", "local down"])
def test_help_answers_at_once(subcommand: str) -> None:
    def check(done: subprocess.CompletedProcess[str], _is_ours: bool) -> None:
        assert "Usage: " in done.stdout

    words = subcommand.split()
    bare = ["-c", BARE, *(["status"] if words else []), "--help"]
    # With what the subcommand imports 3 times and more, with the SageMaker SDK 10.
    costs_at_most(1.6, ["-m", "pipelines.run", *words, "--help"], bare, check)


def test_no_model_can_be_called_like_a_subcommand() -> None:
    from typer.main import get_command

    from pipelines.run import app

    assert set(get_command(app).commands) == SUBCOMMANDS  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["qwen3"], "no command or model called 'qwen3'; did you mean 'qwen3-32b'?"),
        (["stauts"], "no command or model called 'stauts'; did you mean 'status'?"),
        (["release", "qwen3"], "did you mean 'qwen3-32b'"),
        (["definition", "no/such/file.yaml"], "there is no such model file"),
        (["qwen3-32b", "--env", "asw"], "did you mean 'aws'"),
        (["smollm2-135m", "--env", "aws"], "weights.hub is `local`, which AWS cannot reach"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], says: str) -> None:
    result = command(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "refused",
    [
        "definition.definition('no/such/file.yaml', 'local')",
        "preflight.prepare(resolution.resolve('qwen3-32b', 'aws'), 'qwen3-32b')",  # its Hub is not reached: asking it stands for a refusal
    ],
)
def test_what_is_refused_does_not_wait_for_the_sagemaker_sdk(refused: str) -> None:
    program = f"""import sys
from pipelines import resolution
from pipelines.checks import preflight
from pipelines.commands.releases import definition
preflight.check = lambda *_: sys.exit(2)
try:
    {refused}
except (Exception, SystemExit) as error:
    print(type(error).__name__, sorted(name for name in sys.modules if name.split(".")[0] == "sagemaker"))
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split(maxsplit=1) in (["ConfigError", "[]\n"], ["SystemExit", "[]\n"])


def test_a_warning_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        diagnostics.configure()
    logging.getLogger("pipelines.commands.releases.release").warning("one instance")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "warning: one instance\n")


def test_every_mistake_in_a_file_is_shown_at_once(tmp_path: Path) -> None:
    text = (MODELS / "qwen3-32b.yaml").read_text()
    file = tmp_path / "model.yaml"
    file.write_text(text.replace("duration_s: 300", "duration_s: 0").replace("approval: manual", "approval: maybe"))
    result = command(str(file), "--json")
    assert result.returncode == 2
    assert result.stderr.count(f"error: {file}:") == 2
    assert json.loads(result.stdout) == {"error": result.stderr.replace("error: ", "").strip()}


def test_a_terminal_without_utf_8_gets_no_traceback(tmp_path: Path) -> None:
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    file = tmp_path / "model.yaml"
    file.write_text("genehmigt ✔: 1", encoding="utf-8")
    arguments = [sys.executable, "-m", "pipelines.run", str(file)]
    result = subprocess.run(arguments, cwd=ROOT, env=ascii_only, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "genehmigt ?: unknown key" in result.stderr.replace("\\u2714", "?")
    plan = [sys.executable, "-m", "pipelines.run", "plan", "qwen3-32b", "--offline"]
    shown = subprocess.run(plan, cwd=ROOT, env=ascii_only, capture_output=True, text=True, check=False)
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("arguments", ["definition qwen3-32b", "plan qwen3-32b --offline --json", "--help"])
def test_output_that_cannot_be_written_is_one_line(arguments: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.run", *arguments.split()], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the output could not be written: No space left on device")
    assert len(done.stderr.splitlines()) == 1


def test_who_has_read_enough_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.run", "definition", "qwen3-32b"],
        cwd=ROOT,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")
