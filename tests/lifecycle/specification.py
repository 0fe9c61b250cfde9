"""What may happen in the life of a model's versions, told from the ledger alone: it shares no code with the project.

`History` takes the ledger event by event and says what was against the rules. It is the whole of the promises: read it as such.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

_CHANGES = ("changing", "promoted", "rolled_back", "retired")


class Broken(AssertionError):
    """A promise was broken."""


@dataclass
class Version:
    """What is known of a version."""

    verdict: str = ""
    """The last evaluation's."""
    approved: bool = False
    """Whether the last decision about it was an approval."""
    by_person: bool = False
    """Whether a person made that decision."""
    against: bool = False
    """Whether a person rejected it, or took it out of production, and nobody overruled that by name."""
    against_since: int = 0
    """The event that the last such word stands in."""
    return_begun: int = 0
    """The event in which the last rollback to it began."""
    passed_at_change: bool = False
    """Whether its evaluation was a reason to promote it when its last promotion began: a later one does not undo that."""
    waived: bool = False
    """Whether a person approved it although the gate had refused it, and said why."""
    served: bool = False
    """Whether production ever served it."""
    promoted: bool = False
    """Whether it was promoted since the last decision about it, and not taken out of production since."""


def _is_person(by: str) -> bool:
    return by.startswith(("arn:", "unknown:"))


def _in_short(details: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in details.items() if name != "deployment")


@dataclass
class History:
    """The ledger so far."""

    versions: dict[int, Version] = field(default_factory=dict)
    serving: int | None = None
    """The version that production serves."""
    returning_to: int | None = None
    """The version that a rollback, which has begun and not ended, gives back to production."""
    last_sha256: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def take(self, body: bytes, overruled: dict[str, int]) -> None:
        """Take the next event.

        Args:
            body: As it is stored.
            overruled: The execution of a rollback → the last event up to which a rejection of the version that it returns to does not count.

        Raises:
            Broken: It must not be there.
        """
        event = json.loads(body)
        self._require(event["previous_sha256"] == self.last_sha256, event, "the chain is broken")
        self._require(event["sequence"] == len(self.events) + 1, event, "it is out of its place")
        self.last_sha256 = hashlib.sha256(body).hexdigest()
        self.events.append(event)
        version = self.versions.setdefault(event["version"], Version())
        take = getattr(self, f"_{event['kind']}", None)
        if take is not None:
            take(event, version, overruled)

    def _evaluated(self, event: dict[str, Any], version: Version, _: dict[str, int]) -> None:
        version.verdict = event["details"]["verdict"]

    def _approved(self, event: dict[str, Any], version: Version, _: dict[str, int]) -> None:
        by_name = bool(event["details"].get("despite"))
        self._require(not by_name or bool(event["details"]["comment"]), event, "overruling takes a comment")
        if not _is_person(event["by"]):
            self._require(version.verdict == "passed", event, "the policy approves what passed")
            self._require(not (version.by_person and not version.approved), event, "a person rejected it")
        self._require(by_name or not version.against, event, "a person is against it, and was not overruled by name")
        version.approved, version.by_person, version.against = True, _is_person(event["by"]), False
        # The package has a verdict a moment before the ledger has it: `despite` is what the person read there.
        read_failed = "the gate's verdict" in event["details"].get("despite", "")
        version.waived = version.waived or (by_name and (version.verdict != "passed" or read_failed))
        version.promoted = False

    def _rejected(self, event: dict[str, Any], version: Version, _: dict[str, int]) -> None:
        by_person = _is_person(event["by"])
        if not by_person:
            self._require(version.verdict == "failed", event, f"the gate rejects what failed, and it is {version.verdict}")
            self._require(not version.by_person, event, "a person's word wins over the gate's")
        version.approved, version.by_person, version.promoted = False, by_person, False
        if by_person:
            version.against, version.against_since = True, event["sequence"]

    def _promoted(self, event: dict[str, Any], version: Version, _: dict[str, int]) -> None:
        self._require(version.approved, event, "it was not approved after its last rejection")
        self._require(not version.against, event, "a person is against it")
        passed = version.passed_at_change or version.verdict == "passed" or version.waived
        self._require(passed, event, f"its evaluation is {version.verdict}")
        newest = self.serving if self.returning_to is None else self.returning_to
        self._require(newest is None or newest <= event["version"], event, f"production serves {newest}")
        version.served = version.promoted = True
        self.serving, self.returning_to = event["version"], None

    def _changing(self, event: dict[str, Any], version: Version, overruled: dict[str, int]) -> None:
        version.passed_at_change = version.verdict == "passed" or version.waived
        if event["details"]["intent"] == "rollback":
            may_begin = version.against_since <= overruled.get(event["details"]["execution"], 0)
            self._require(may_begin or not version.against, event, "a person is against it, and was not overruled")
            self.returning_to, version.return_begun = event["version"], event["sequence"]

    def _rolled_back(self, event: dict[str, Any], version: Version, overruled: dict[str, int]) -> None:
        self._require(version.served, event, "production never served it")
        self._require(self.returning_to == event["version"], event, "no rollback to it began")
        left = event["details"]["previous_version"]
        if left is not None and left != event["version"]:
            self._take_out(self.versions[left], event)
        counts_since = max(version.return_begun, overruled.get(event["details"]["execution"], 0))
        version.against = version.against and version.against_since > counts_since
        self.serving, self.returning_to = event["version"], None

    def _retired(self, event: dict[str, Any], version: Version, _: dict[str, int]) -> None:
        self._take_out(version, event)
        self.serving = self.returning_to = None

    @staticmethod
    def _take_out(version: Version, event: dict[str, Any]) -> None:
        version.approved, version.against, version.promoted = False, True, False
        version.against_since = event["sequence"]

    def _require(self, holds: bool, event: dict[str, Any], why: str) -> None:
        if not holds:
            raise Broken(f"event {event['sequence']}, {event['kind']} {event['version']} by {event['by']}: {why}\n{self}")

    def __str__(self) -> str:
        return "\n".join(
            f"{event['sequence']:4} {event['kind']} {event['version'] or ''} by {event['by']} {_in_short(event['details'])}"
            for event in self.events
        )

    @property
    def is_half_changed(self) -> bool:
        """Whether a change of production has begun whose end the ledger does not have."""
        kinds = [event["kind"] for event in self.events if event["kind"] in _CHANGES or "closes" in event["details"]]
        return bool(kinds) and kinds[-1] == "changing"

    # What somebody was told

    def decided(self, since: int, person: str, kind: str, version: int) -> bool:
        """Tell whether the person's decision is among the events after the first so many."""
        return any((event["kind"], event["version"], event["by"]) == (kind, version, person) for event in self.events[since:])

    def status(self, version: int) -> str:
        """Return the approval status that the ledger's last word about a version is."""
        for event in reversed(self.events):
            if event["version"] == version and event["kind"] in ("approved", "rejected"):
                return {"approved": "Approved", "rejected": "Rejected"}[event["kind"]]
            is_taken_out = event["kind"] in ("rolled_back", "retired") and event["details"]["previous_version"] == version
            if is_taken_out and (event["kind"], event["version"]) != ("rolled_back", version):
                return "Rejected"
        return "PendingManualApproval"
