"""What stands in the way of a release, before one is started: each thing that it needs, `ok` or what to do. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Literal

from config.environment import Environment
from config.loader import load_environment, load_model, model_names
from config.schema import Release
from delivery.errors import StepError
from pipelines.errors import CommandError, UsageError

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    status: Status
    """`ok`; `warn`: works, but think of it; `fail`: a release would fail, or nobody can tell."""
    subject: str
    message: str
    to_do: str = ""


class Findings(list[Finding]):
    """What one check found, in order."""

    def __init__(self, subject: str) -> None:
        """`subject` is what the check is about, as in `bucket`."""
        super().__init__()
        self.subject = subject

    def ok(self, message: str) -> None:
        """Nothing to do."""
        self.append(Finding("ok", self.subject, message))

    def warn(self, message: str, to_do: str = "") -> None:
        """Works, but think of it."""
        self.append(Finding("warn", self.subject, message, to_do))

    def fail(self, message: str, to_do: str) -> None:
        """A release would fail here."""
        self.append(Finding("fail", self.subject, message, to_do))

    @contextmanager
    def looking_at(self, what: str, to_do: str) -> Iterator[None]:
        """What AWS or the Hub refuses inside becomes a `fail` with that to do."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError, StepError, CommandError) as error:
            self.fail(f"{what}: {error}", to_do)


def doctor(models: list[str], env: str, *, as_json: bool) -> None:
    """Look at everything and print it; CommandError (exit code 1) when a release would fail.

    `models` are names or files; empty: all that the environment can release.
    """
    environment = load_environment(env)
    if environment.kind == "local":
        from pipelines.checks import doctor_local

        found = doctor_local.checks()
    else:
        from pipelines.checks import doctor_aws

        found = doctor_aws.checks(environment, releases(models, environment))
    shown, failed = [], 0
    for finding in found:
        shown.append(finding)
        failed += finding.status == "fail"
        if not as_json:
            print(_line(finding), flush=True)
    facts = {"findings": [asdict(finding) for finding in shown]}
    if failed:
        raise CommandError(f"{failed} of {len(shown)} need something done before a release can work", facts)
    if as_json:
        print(json.dumps(facts, indent=2))


def releases(models: list[str], environment: Environment) -> list[Release]:
    """The named model files, resolved; without names all of config/models that the environment reaches."""
    from pipelines.setup.images import serving_image, tagged

    whole = tagged(environment)
    found = []
    for model in models or model_names():
        name, content = load_model(model)
        if content.weights.hub == "local":
            if models:
                raise UsageError(f"{name}: weights.hub is `local`, which AWS cannot reach; set it to huggingface.co")
            continue
        found.append(Release(name=name, model=content, environment=whole, serving_image=serving_image(content.serving, whole)))
    return found


def _line(finding: Finding) -> str:
    text = f"{finding.status:<5} {finding.subject:<15} {finding.message}"
    return f"{text}\n      {'':<15} → {finding.to_do}" if finding.to_do else text
