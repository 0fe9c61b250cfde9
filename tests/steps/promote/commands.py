"""The command, called in a fake account as a person would."""

from __future__ import annotations

from typing import Any
from unittest import mock

import yaml

from pipelines.commands.versions.approve import approve
from pipelines.commands.versions.rollback import rollback
from pipelines.released_model import open_model
from pipelines.status.model_status import read_status
from pipelines.status.statuses import ModelStatus
from tests.support.worlds.promotion import PromotionWorld, Version

ENGINEER = "arn:aws:iam::123456789012:role/engineer"


def approved(world: PromotionWorld, version: Version, comment: str, *, force: bool = False) -> str:
    """Approve it by the command; what the command says."""
    with world.account.acting_as(ENGINEER):
        return approve(version.release.name, _environment(world, version), version.number, comment, force=force).text


def status(world: PromotionWorld, version: Version) -> ModelStatus:
    """What the command says of the version's model."""
    with world.account.acting_as(ENGINEER):
        return read_status(open_model(version.release.name, _environment(world, version)))


def rolled_back_to(world: PromotionWorld, version: Version, to: int | None = None) -> str:
    """The version that the command `rollback` starts the pipeline with: its ARN."""
    arn: str = rollback_started(world, version, to).args[2]
    return arn


def rollback_started(world: PromotionWorld, version: Version, to: int | None = None) -> Any:
    """What the command `rollback` starts the pipeline with."""
    started = mock.patch("pipelines.commands.versions.production_change.start", return_value="arn:aws:sagemaker:execution")
    with world.account.acting_as(ENGINEER), started as start:
        rollback(version.release.name, _environment(world, version), to, "", force=False, follow=False, as_json=True)
    return start.call_args


def _environment(world: PromotionWorld, version: Version) -> str:
    """An environment file of the fake account."""
    file = world.folder / "environment.yaml"
    content = {**version.release.environment.model_dump(mode="json"), "kind": "aws", "hub_token_secret": None}
    file.write_text(yaml.safe_dump(content))
    return str(file)
