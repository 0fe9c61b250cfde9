"""The calls that change production, against AWS as a list of calls: who lost the lease makes none, and a failure keeps its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from config.loader import load_environment, load_model
from config.production import Autoscaling
from config.schema import Release
from delivery.endpoint import lease
from delivery.endpoint.hosting import EndpointState
from delivery.errors import DeliveryError, LeaseLost
from delivery.history import decisions, registry_decisions
from delivery.history.ledger import Event, EventKind
from delivery.names import ENDPOINT_TAG, MODEL_TAG
from delivery.registry.model_packages import ModelPackage
from steps.promote.context import PromotionContext
from steps.promote.endpoint.observed_endpoint import ServedVersion
from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from steps.promote.models import PromotionArguments
from steps.promote.refusal import write_refusal

SCALING = Autoscaling(min_instances=1, max_instances=3, concurrent_requests_per_instance=16)
NEW: Any = SimpleNamespace(name="new", tags=[])
OLD = ServedVersion("old", 1, None, SCALING)
CHANGES = {
    "hosting.switch",
    "hosting.create",
    "hosting.delete",
    "hosting.tag",
    "alarms.delete left",
    "scaling.remove",
    "scaling.apply",
}
"""What the lease's holder alone may do. (The new version's own config and alarms harm nobody; those that are left may be somebody's new ones.)"""


def release() -> Release:
    name, model = load_model("qwen3-32b")
    return Release(name=name, model=model, environment=load_environment("aws"), serving_image="i")


@dataclass
class Aws:
    """What a promotion calls, and its lease. Each call is put on record; `fails` says which of them fail, and how."""

    endpoint: EndpointState | None
    after: str = "new"
    """The endpoint config that is served once the update is over."""
    fails: dict[str, str] = field(default_factory=dict)
    lost_after: float = float("inf")
    """After so many calls somebody else has the lease."""
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, room: str) -> Any:
        return _Room(self, room)

    def call(self, name: str, *arguments: Any, **more: Any) -> Any:
        more.get("before_each_try", lambda: None)()
        self.calls.append(f"{name} {arguments[0]}" if name == "alarms.delete" else name)
        if name in self.fails:
            raise DeliveryError(self.fails[name])
        match name:
            case "hosting.definitions":
                return {"new", "left"}
            case "hosting.config_tags":
                return {MODEL_TAG: "qwen3-32b", ENDPOINT_TAG: "qwen3-32b"}
            case "hosting.state":
                return self.endpoint
            case "hosting.wait":
                return EndpointState("arn", "InService", self.after, "")
            case "hosting.config":
                return None if arguments[0] == "gone" else {"ProductionVariants": [{"InstanceType": f"that of {arguments[0]}"}]}
            case "hosting.recent_logs":
                return ""
            case "alarms.put" | "alarms.usable" | "alarms.in_alarm" | "hosting.undefine":
                return []
            case "scaling.is_there":
                return False
        return None

    @property
    def lease(self) -> Any:
        def confirm() -> None:
            if len(self.calls) >= self.lost_after:
                raise LeaseLost("somebody has it")

        held = mock.create_autospec(lease.Lease, instance=True)
        held.confirm = confirm
        return held

    @property
    def production(self) -> ProductionEndpoint:
        return ProductionEndpoint(release(), self, self.lease)  # type: ignore[arg-type]


@dataclass
class _Room:
    aws: Aws
    name: str

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments, **more: self.aws.call(f"{self.name}.{method}", *arguments, **more)


IN_SERVICE, FAILED = (EndpointState("arn", status, "old", "") for status in ("InService", "Failed"))
SERVES_NEW = EndpointState("arn", "InService", "new", "")


def begin() -> None:
    """What is written into the ledger before the first change."""


WAYS: dict[str, tuple[Aws, Callable[[ProductionEndpoint], object]]] = {
    "first": (Aws(None), lambda production: production.create(NEW, begin)),
    "instead of a failed one": (Aws(FAILED), lambda production: production.create(NEW, begin)),
    "first, refused": (Aws(None, fails={"hosting.create": "quota"}), lambda production: production.create(NEW, begin)),
    "first, down": (Aws(None, fails={"hosting.wait": "it crashed"}), lambda production: production.create(NEW, begin)),
    "update": (Aws(IN_SERVICE), lambda production: production.update(NEW, OLD, begin)),
    "update, refused": (
        Aws(IN_SERVICE, fails={"hosting.switch": "quota"}),
        lambda production: production.update(NEW, OLD, begin),
    ),
    "update, taken back": (Aws(IN_SERVICE, after="old"), lambda production: production.update(NEW, OLD, begin)),
    "back": (Aws(IN_SERVICE, after="old"), lambda production: production.restore("old", "new", SCALING)),
    "back to nothing": (Aws(IN_SERVICE), lambda production: production.restore(None, "new", None)),
    "settled": (Aws(IN_SERVICE), lambda production: production.settle(SERVES_NEW, NEW)),
    "tidied up": (Aws(IN_SERVICE), lambda production: production.tidy_up("new")),
    "back to what is gone": (Aws(IN_SERVICE), lambda production: production.restore("gone", "new", None)),
}


def done(way: str, **changes: Any) -> tuple[Aws, str]:
    """What was called, and the error; LeaseLost is one, too."""
    aws, act = WAYS[way]
    aws = Aws(aws.endpoint, aws.after, {**aws.fails, **changes.pop("fails", {})}, **changes)
    try:
        act(aws.production)
    except DeliveryError as error:
        return aws, f"{type(error).__name__}: {error}"
    return aws, ""


@pytest.mark.parametrize("way", WAYS)
def test_who_lost_the_lease_changes_nothing_more_whenever_that_was(way: str) -> None:
    """A process that stood still between two of its calls, whichever two these are."""
    whole, _ = done(way)
    for moment in range(len(whole.calls)):
        aws, error = done(way, lost_after=moment)
        assert not CHANGES & set(aws.calls[moment:]), f"after {aws.calls[:moment]}"
        assert aws.calls == whole.calls or error.startswith("LeaseLost"), f"after {aws.calls[:moment]}"


@pytest.mark.parametrize("way", WAYS)
def test_who_lost_the_lease_before_it_began_makes_nothing(way: str) -> None:
    aws, error = done(way, lost_after=0)
    assert error == "LeaseLost: somebody has it"
    assert set(aws.calls) <= {"hosting.state", "hosting.config", "hosting.definitions", "hosting.config_tags"}


@pytest.mark.parametrize(
    ("way", "fails", "reason"),
    [
        ("first, refused", "hosting.undefine", "quota"),
        ("first, down", "hosting.delete", "it crashed"),
        ("update, refused", "hosting.state", "quota"),
        ("update, refused", "scaling.is_there", "quota"),
        ("update, taken back", "hosting.undefine", "SageMaker took the update of qwen3-32b back: it does not say why"),
    ],
)
def test_a_reason_outlives_what_cannot_be_cleaned_up_after_it(way: str, fails: str, reason: str) -> None:
    _, error = done(way, fails={fails: "AccessDenied"})
    assert error.startswith(f"DeliveryError: {reason}; ")
    assert error.endswith("AccessDenied")


def test_an_update_that_was_taken_back_has_its_autoscaling_again_whatever_cannot_be_told_of_it() -> None:
    aws, error = done("update, taken back", fails={"alarms.in_alarm": "ThrottlingException"})
    assert error == "DeliveryError: ThrottlingException"
    assert "scaling.apply" in aws.calls


def test_a_rollback_that_failed_is_no_reason_to_take_an_old_approval_for_a_new_one() -> None:
    arn = "arn:aws:sagemaker:us-west-2:111122223333:model-package/release-qwen3-32b/1"
    arguments = PromotionArguments(release(), arn, "execution-1", "manual", Path("none"), "rollback")
    context = PromotionContext(arguments, mock.MagicMock(), mock.MagicMock())
    context.endpoint.touched = True
    with mock.patch.object(context, "ledger") as ledger:
        write_refusal(context, DeliveryError("an alarm went off"))
    told = ledger.append.call_args.kwargs["details"]
    told_of: list[tuple[EventKind, Any]] = [("approved", {}), ("refused", told)]
    events = [
        Event(sequence=number, at="2026-11-25T00:00:00+00:00", kind=kind, version=1, by="test", details=details)
        for number, (kind, details) in enumerate(told_of, 1)
    ]
    assert decisions.failed_try(events, 1) is not None
    approved = ModelPackage(arn, "release-qwen3-32b", 1, "Approved", {}, approval_description="good")
    ledger.events.return_value = events
    assert registry_decisions.note_if_made_elsewhere(ledger, approved) is None
