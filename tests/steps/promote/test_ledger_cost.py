"""What a release asks S3 of the ledger does not grow with it: the steps themselves, on an AWS of this process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from delivery.history import ledger
from steps.verify_approval import step as verify_approval
from steps.verify_approval.models import VerificationArguments
from tests.support.worlds.evaluation import BUCKET
from tests.support.worlds.promotion import fake_promotions


def requests_of_a_promotion(folder: Path, earlier: int) -> Counter[str]:
    """VerifyApproval and Promote, each in a process of its own, behind so many earlier events."""
    folder.mkdir()
    with fake_promotions(folder) as world:
        version = world.version("chat")
        for number in range(earlier):
            world.ledger(version).append("fetched", by=f"execution-{number}")
        world.account.calls.clear()  # type: ignore[attr-defined]
        ledger._verified.clear()
        with world.account.acting_as(version.release.environment.roles.promote):
            assert verify_approval.run(VerificationArguments(version.arn, BUCKET, "promotion", folder / "verified")).approved
        ledger._verified.clear()
        world.serve(version)
        asked = [
            call["action"]
            for call in world.account.calls  # type: ignore[attr-defined]
            if f"{call['parameters'].get('Key', '')}{call['parameters'].get('Prefix', '')}".startswith("releases/chat/0")
            or call["parameters"].get("Key", "").endswith("checkpoint.json.gz")
        ]
        assert len(world.ledger(version).audit()) > earlier
    return Counter(asked)


def test_a_promotion_asks_as_much_of_a_long_ledger_as_of_a_short_one(tmp_path: Path) -> None:
    short, long = (requests_of_a_promotion(tmp_path / f"{earlier}", earlier) for earlier in (9, 400))
    assert short["ListObjectsV2"] == long["ListObjectsV2"]
    assert abs(short["GetObject"] - long["GetObject"]) <= 2 * ledger._CHECKPOINT_EVERY
    assert abs(short["PutObject"] - long["PutObject"]) <= 1
    assert long.total() < 60
