"""What a stack of this machine did, held against infra/delivery.yaml: called by the fixtures that run whole releases, when they end.

`granted_actions.json` has the actions that every run took, by role. `RELEASE_RECORD=FILE` makes the runs of a test session add theirs to
FILE; a soak test makes such a file anew and compares.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from tests.infra import calls

RECORDED = Path(__file__).with_name("granted_actions.json")


def recorded(file: Path = RECORDED) -> dict[str, set[str]]:
    """Role → the actions that runs took."""
    return {role: set(actions) for role, actions in json.loads(file.read_text()).items()} if file.exists() else {}


def calls_of(state: Path) -> list[calls.Call]:
    """What a sagemaker_local was asked; `state` is the folder of one that has ended, since its record is a moment behind while it runs."""
    return calls.read(state / "calls.jsonl")


def every_call_is_allowed(made: list[calls.Call], bucket: str) -> None:
    """Fail when a call that was made in a role of the template is one that its policy does not allow, or is not on record.

    `made` is what a fake AWS was asked, or `calls_of` a sagemaker_local.
    """
    used = calls.used(made)
    refused = calls.refused(made, bucket)
    assert not refused, "infra/delivery.yaml refuses what the code does:\n" + "\n".join(refused)
    if file := os.environ.get("RELEASE_RECORD"):
        _add(Path(file), used)
        return
    known = recorded()
    new = sorted(f"{role}: {action}" for role, actions in used.items() for action in actions - known.get(role, set()))
    assert not new, f"calls that are not on record; add them to {RECORDED.name}:\n" + "\n".join(new)


def _add(file: Path, used: dict[str, set[str]]) -> None:
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = recorded(file)
        merged = {role: sorted(known.get(role, set()) | used.get(role, set())) for role in sorted(known.keys() | used.keys())}
        file.write_text(json.dumps(merged, indent=2) + "\n")
