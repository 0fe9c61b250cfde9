"""The command's decisions, taken in a fake account as a person would."""

from __future__ import annotations

import yaml

from pipelines.commands.approve import approve
from tests.support.worlds.promotion import PromotionWorld, Version

ENGINEER = "arn:aws:iam::123456789012:role/engineer"


def approved(world: PromotionWorld, version: Version, comment: str, *, force: bool = False) -> str:
    """Approve it by the command; what the command says."""
    environment = world.folder / "environment.yaml"
    content = {**version.release.environment.model_dump(mode="json"), "kind": "aws", "hub_token_secret": None}
    environment.write_text(yaml.safe_dump(content))
    with world.account.acting_as(ENGINEER):
        return approve(version.release.name, str(environment), version.number, comment, force=force).text
