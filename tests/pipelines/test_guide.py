"""docs/aws.md says nothing that is not so: its commands exist, with those options, and its messages are ones that the code has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from typer.main import get_command

from pipelines.run import app

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
OWN = re.compile(r"python -m pipelines\.run ([^`\n]*)")
_CLI_ONLY = {"deploy", "login", "rm"}  # commands of the AWS CLI that are no operation
_CLI_OPTIONS = {"query", "template-file", "capabilities", "parameter-overrides", "region"}


def commands(program: str) -> list[list[str]]:
    """Every command line of the guide that begins with a program."""
    text = GUIDE.replace("\\\n", " ")
    found = [line.strip() for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    found += re.findall(r"`([^`\n]+)`", GUIDE)
    return [shlex.split(line, comments=True) for line in found if line.startswith(f"{program} ")]


@pytest.mark.parametrize("line", sorted({match.strip() for match in OWN.findall(GUIDE)}))
def test_our_commands_are_there_with_their_options(line: str) -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    words = shlex.split(line, comments=True)
    command = known.get(words[0], known["release"])
    options = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("line", commands("aws"), ids=" ".join)
def test_aws_has_the_operations_and_their_parameters(line: list[str]) -> None:
    service, operation, *rest = line[1:]
    if operation in _CLI_ONLY:
        return
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in names
    shape = model.operation_model(names[operation]).input_shape
    assert shape is not None
    parameters = {xform_name(name, "-") for name in shape.members}
    assert {word.removeprefix("--") for word in rest if word.startswith("--")} - _CLI_OPTIONS <= parameters


def test_every_message_in_the_table_is_one_that_the_code_has() -> None:
    source = "".join(
        path.read_text(encoding="utf-8")
        for room in ("config", "delivery", "loadtest", "steps", "pipelines")
        for path in (ROOT / room).rglob("*.py")
    )
    source = re.sub(r'"\s*\n\s*(rf?|fr?)?"', "", source)  # strings that go on in the next line
    source = re.sub(r"\{[^{}\n]*\}", "{}", source)
    table = GUIDE.split("| Message | What it means")[1].split("\n\n")[0]
    rows = [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()[2:]]
    assert len(rows) > 25
    strangers: list[str] = []
    for row in rows:
        if row.startswith(("AWS:", "a push")):
            continue
        strangers += [message for message in re.findall(r"`([^`]+)`", row) if message not in source]
    assert strangers == []


def test_every_file_that_it_names_is_there() -> None:
    for name in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / name).resolve().exists(), name
    for name in re.findall(r"`((?:infra|config|container|pipelines|tests)/[\w./-]+)`", GUIDE):
        assert (ROOT / name).exists(), name
