"""What is promised whatever fails, as far as several scenarios share it. Each function yields what is wrong, in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from delivery.history.ledger import Event
from delivery.history.serving_history import DeployedVersion, serving_lineage
from tests.faults.injector import Injection
from tests.faults.scenario import Ended
from tests.support.worlds.promotion import PromotionWorld, Version

KILLED, TERMINATED = 137, 143
_INDISPENSABLE = (
    "s3:PutObject:lease",
    "s3:GetObject:lease",
    "s3:PutObject:event",
    "s3:GetObject:event",
    "s3:ListObjectsV2:events",
    "sagemaker:UpdateEndpoint",
    "sagemaker:DescribeEndpoint",
    "sagemaker:DeleteEndpoint",
)
"""Without these nobody can record what serves, nor give the old version back: a step that may make none of them any more can only say so."""


@dataclass(frozen=True)
class Serving:
    """What production serves, and what the ledger says that it does."""

    status: str
    """The endpoint's; empty when there is none."""
    config: str
    recorded: str
    """The endpoint config of the ledger's last word; empty when production never served anything by it."""

    @property
    def version(self) -> int | None:
        """The version that is served."""
        return version_in(self.config)

    def __str__(self) -> str:
        return f"the endpoint is {self.status or 'not there'} with {self.config or 'nothing'}, the ledger says {self.recorded or 'nothing'}"


def version_in(config: str) -> int | None:
    """Read the version out of an endpoint config's name."""
    found = re.search(r"-v(\d+)-", config)
    return int(found[1]) if found else None


def serving(world: PromotionWorld, version: Version) -> Serving:
    """Look at production once nothing changes it any more."""
    endpoint = version.endpoint
    described = [world.endpoint(endpoint) for _ in range(3)][-1] or {}
    lineage = serving_lineage(world.events(version))
    return Serving(
        described.get("EndpointStatus", ""),
        described.get("EndpointConfigName", ""),
        DeployedVersion.of(lineage[-1]).config if lineage else "",
    )


def the_cause_is_named(ended: Ended, injection: Injection | None) -> Iterator[str]:
    """A run that failed says why, in its message, and is no bug."""
    if "Traceback" in ended.text:
        yield f"it ended with a traceback: {ended.text.strip().splitlines()[-1]}"
    if ended.exit_code in {0, KILLED}:
        return
    if not ended.message:
        yield f"exit code {ended.exit_code} without a message"
    if injection is not None and injection.kind.words not in ended.message and "could not be renewed" not in ended.message:
        yield f"the message does not name the cause: {ended.message!r}"


def the_ledger_is_right(now: Serving, ended: Ended, injection: Injection | None) -> Iterator[str]:
    """What the ledger says that production serves is what it serves; where that cannot be, the run failed and does not say otherwise."""
    if now.config == now.recorded:
        return
    ended_early = ended.exit_code in {KILLED, TERMINATED}
    cannot = injection is not None and (injection.kind.spreads or (_is_seen(injection) and injection.call in _INDISPENSABLE))
    if ended_early:
        return
    if not cannot:
        yield f"production and the ledger differ: {now}; exit code {ended.exit_code}: {ended.message}"
    elif ended.exit_code == 0:
        yield f"success, though production and the ledger differ: {now}"
    elif "untouched" in ended.message or "nothing is changed" in ended.message:
        yield f"it says that production is untouched, but {now}: {ended.message}"
    elif not any(words in ended.message for words in (f"version {now.version}", "is not known", "out of service")):
        yield f"it does not say what production serves: {now}: {ended.message}"


def _is_seen(injection: Injection) -> bool:
    """Whether the step sees it: what ends by itself is asked again by botocore, but for what it is not asked again for."""
    return injection.lasts or not injection.kind.retried


def in_service(now: Serving, *versions: int | None) -> Iterator[str]:
    """Production serves one of these versions; None: there is no endpoint."""
    if now.version not in versions or (now.version is not None and now.status != "InService"):
        yield f"production should serve {' or '.join(map(str, versions))}: {now}"


def nothing_is_left(world: PromotionWorld, version: Version, now: Serving, execution: str = "") -> Iterator[str]:
    """There is what production serves, with its alarms, and nothing that other tries made.

    With `execution`, nothing of that one's: a version that is refused tidies up behind itself alone, the next promotion behind all.
    """
    made = {name.removesuffix("-errors").removesuffix("-latency") for name in world.definitions(version.release.name)}
    if left := {name for name in made - {now.config} if name.endswith(execution[-8:])}:
        yield f"left over: {', '.join(sorted(left))}"
    alarms = world.client("cloudwatch").describe_alarms()["MetricAlarms"]
    names = {alarm["AlarmName"] for alarm in alarms}
    wanted = {f"{now.config}-errors", f"{version.endpoint}-no-instance"} if now.config else set()
    if not wanted <= names or (names != wanted and not execution):
        yield f"the alarms should be {sorted(wanted)}: {sorted(names)}"


def autoscaling_is(world: PromotionWorld, version: Version, bounds: tuple[int, int] | None) -> Iterator[str]:
    """The endpoint has that autoscaling."""
    found = world.autoscaling(version.endpoint)
    actual = (found["MinCapacity"], found["MaxCapacity"]) if found else None
    if actual != bounds or (found and not found["policies"]):
        yield f"autoscaling should be {bounds}: {found}"


def recorded_once(events: list[Event]) -> Iterator[str]:
    """No two events in a row tell of the same promotion."""
    brought = [(event.kind, event.version) for event in events if event.kind in ("promoted", "rolled_back")]
    for one, next_one in pairwise(brought):
        if one == next_one:
            yield f"the ledger tells of the same change twice: {one[0]} {one[1]}"
