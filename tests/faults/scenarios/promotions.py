"""Promotions and rollbacks: a first version, an update, a bad version, a version that is approved by the gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from delivery.history import decisions
from delivery.history.ledger import Ledger
from delivery.registry import model_packages
from steps.promote import __main__ as promote
from tests.faults import invariants
from tests.faults.injector import Injection
from tests.faults.scenario import BY_HAND, Ended, Scenario, empty_bucket, run_step
from tests.support.virtual_time import VirtualClock
from tests.support.worlds.promotion import QUESTION, PromotionWorld, Version

_WRONG = {"answers": {QUESTION: "something else a b c d e f g h i j"}}
_NAME = "chat"
_LEASE = {"wait_s": 600, "expires_s": 120}


class Promotion(Scenario):
    """A version is promoted. Subclasses say what is there before."""

    intent, approval = "promotion", "manual"
    good = True
    """Whether the version is one that passes its smoke test."""
    scaling: tuple[int, int] | None = (1, 3)
    """The bounds of the autoscaling of what is to serve in the end."""
    before: int | None = None
    """The version that production serves before."""
    version: Version
    last_execution = ""

    @property
    def world(self) -> PromotionWorld:
        """The account, and short forms of what is done with it."""
        return PromotionWorld(self.aws, self.folder)

    @property
    def wanted(self) -> int | None:
        """The version that is to serve in the end."""
        return self.version.number if self.good else self.before

    def make(self, **more: Any) -> Version:
        """Register the next version."""
        low, high = (1, 3) if self.scaling is None else self.scaling
        scaling = {"min_instances": low, "max_instances": high, "concurrent_requests_per_instance": 16}
        return self.world.version(_NAME, autoscaling=scaling, lease=_LEASE, **more)

    def attack(self, execution: str) -> Ended:
        """Run the step."""
        self.last_execution = execution
        arguments = [
            *("--release", str(self.version.file), "--model-package", self.version.arn, "--execution", execution),
            *("--approval", self.approval, "--intent", self.intent, "--output", str(self.folder / "promotion")),
        ]
        with self.aws.acting_as(self.version.release.environment.roles.promote), self.injector.calls_of("promote"):
            return run_step(promote.main, arguments, self.folder)

    def again(self, execution: str) -> Ended:
        """Run it again; where it says that the version must be approved again, as a person would."""
        ended = self.attack(execution)
        if ended.exit_code and "approve it again" in ended.message:
            self._approve()
            ended = self.attack(f"{execution}-2")
        return ended

    def _approve(self) -> None:
        registry = self.aws.client("sagemaker")
        package = model_packages.read(registry, self.version.arn)
        ledger = Ledger(self.aws.client("s3"), self.version.release.environment.bucket, _NAME)
        decisions.decide(ledger, "approved", package, by="ana", comment="once more", seen=ledger.events())
        model_packages.approve(registry, self.version.arn, "once more")

    def after_attack(self, ended: Ended, injection: Injection | None) -> Iterator[str]:
        """Production serves one of the two, and the ledger knows which."""
        now = invariants.serving(self.world, self.version)
        yield from invariants.the_cause_is_named(ended, injection if self.good else None)
        yield from invariants.the_ledger_is_right(now, ended, injection)
        if self.good:
            yield from invariants.in_service(now, self.before, self.version.number)
        if ended.exit_code == 0:
            yield from invariants.in_service(now, self.wanted)

    def after_all(self, ended: Ended) -> Iterator[str]:
        """Production serves the version, and there is nothing else."""
        now = invariants.serving(self.world, self.version)
        if ended.exit_code != (0 if self.good else 1):
            yield f"the run after it ended with {ended.exit_code}: {ended.message}"
        yield from invariants.the_cause_is_named(ended, None)
        yield from invariants.the_ledger_is_right(now, ended, None)
        yield from invariants.in_service(now, self.wanted)
        yield from invariants.nothing_is_left(self.world, self.version, now, "" if self.good else self.last_execution)
        yield from invariants.autoscaling_is(self.world, self.version, self.scaling if now.config else None)
        yield from invariants.recorded_once(self.world.events(self.version))


class _ByHand(Promotion):
    """A promotion under which somebody changes things by hand."""

    moments: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **Promotion.moments,
        "endpoint-deleted": ("sagemaker:InvokeEndpoint",),
        "version-deleted": ("sagemaker:CreateModel", "sagemaker:InvokeEndpoint"),
        "bucket-emptied": ("sagemaker:CreateModel", "sagemaker:InvokeEndpoint"),
    }
    event = ""
    """What happened; empty when nothing did."""

    def __init__(self, folder: Path, clock: VirtualClock) -> None:
        super().__init__(folder, clock)
        sagemaker = self.aws.client("sagemaker")
        self.injector.events |= {
            "endpoint-deleted": lambda: sagemaker.delete_endpoint(EndpointName=self.version.endpoint),
            "endpoint-set-back": self._set_back,
            "version-deleted": lambda: sagemaker.delete_model_package(ModelPackageName=self.version.arn),
            "bucket-emptied": lambda: empty_bucket(self.aws, self.version.release.environment.bucket),
        }

    def _set_back(self) -> None:
        """Give the endpoint the config that the first version had."""
        [config] = {name for name in self.world.definitions(_NAME) if "-v1-" in name and not name.endswith("-errors")}
        self.aws.client("sagemaker").update_endpoint(
            EndpointName=self.version.endpoint, EndpointConfigName=config, DeploymentConfig={}, RetainAllVariantProperties=True
        )
        invariants.serving(self.world, self.version)  # until it is done

    def after_attack(self, ended: Ended, injection: Injection | None) -> Iterator[str]:
        """What was changed by hand is noticed, and the ledger does not say what is not so."""
        self.event = injection.fault if injection is not None and injection.fault in BY_HAND else ""
        if not self.event:
            yield from super().after_attack(ended, injection)
            return
        now = invariants.serving(self.world, self.version)
        yield from invariants.the_cause_is_named(ended, None)
        if now.recorded != now.config and invariants.version_in(now.recorded) == self.version.number:
            yield f"the ledger has a promotion that is not so: {now}; exit code {ended.exit_code}: {ended.message}"
        if ended.exit_code == 0 and now.version != self.version.number:
            yield f"success, but {now}"
        if now.config and not any(name == now.config for name in self.world.definitions(_NAME)):
            yield f"what production serves was deleted: {now}"

    def after_all(self, ended: Ended) -> Iterator[str]:
        """Where the version is still to be had it serves; where it is not, one that was approved does."""
        if self.event not in {"version-deleted", "bucket-emptied"}:
            yield from super().after_all(ended)
            return
        now = invariants.serving(self.world, self.version)
        yield from invariants.the_cause_is_named(ended, None)
        if now.status != "Failed":  # without a lease to delete it with
            yield from invariants.in_service(now, self.before, self.version.number)
        if self.event == "version-deleted":
            yield from invariants.the_ledger_is_right(now, ended, None)


class Create(_ByHand):
    """The first version of a model."""

    name = "create"

    def prepare(self) -> None:
        """Register it."""
        self.version = self.make()


class CreateBad(Create):
    """A first version that answers wrongly."""

    name, good = "create-bad", False

    def prepare(self) -> None:
        """Register it."""
        self.version = self.make(settings=_WRONG)


class Update(_ByHand):
    """The second version of a model."""

    name, before = "update", 1
    moments: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **_ByHand.moments,
        "endpoint-set-back": ("sagemaker:InvokeEndpoint",),
    }

    def prepare(self) -> None:
        """Promote the first one."""
        self.world.serve(self.make())
        self.version = self.make()


class UpdateBad(Promotion):
    """A second version that answers wrongly."""

    name, good, before = "update-bad", False, 1

    def prepare(self) -> None:
        """Promote the first one."""
        self.world.serve(self.make())
        self.version = self.make(settings=_WRONG)


class UpdateCrash(Promotion):
    """A second version that does not start: SageMaker takes the update back."""

    name, good, before = "update-crash", False, 1

    def prepare(self) -> None:
        """Promote the first one."""
        self.world.serve(self.make())
        self.version = self.make(settings={"crash_at_start": True})


class UpdateType(Promotion):
    """A second version on other instances: its autoscaling is taken away for the update."""

    name, before = "update-type", 1

    def prepare(self) -> None:
        """Promote the first one."""
        self.world.serve(self.make())
        self.version = self.make(serving={"instance_type": "ml.p5e.48xlarge"})


class Automatic(Promotion):
    """A second version that the gate's verdict approves."""

    name, before, approval = "automatic", 1, "automatic"

    def prepare(self) -> None:
        """Promote the first one."""
        self.world.serve(self.make())
        self.version = self.make(status="PendingManualApproval")


class Rollback(Promotion):
    """Back from the second version to the first."""

    name, before, intent = "rollback", 2, "rollback"
    left: Version

    def prepare(self) -> None:
        """Promote both."""
        self.version = self.make()
        self.world.serve(self.version)
        self.left = self.make()
        self.world.serve(self.left)

    def after_all(self, ended: Ended) -> Iterator[str]:
        """Production serves the first, and the second is rejected."""
        yield from super().after_all(ended)
        status = model_packages.read(self.aws.client("sagemaker"), self.left.arn).approval_status
        if status != "Rejected":
            yield f"version {self.left.number}, which production was rolled back from, is {status}"


class Unchanged(Promotion):
    """Production serves the version already."""

    name, before = "unchanged", 1

    def prepare(self) -> None:
        """Promote it."""
        self.version = self.make()
        self.world.serve(self.version)


class Retire(Promotion):
    """Production is taken out of service."""

    name, before, intent = "retire", 1, "retirement"

    @property
    def wanted(self) -> None:
        """No version is to serve in the end."""
        return

    def prepare(self) -> None:
        """Promote a version."""
        self.version = self.make()
        self.world.serve(self.version)

    def after_attack(self, ended: Ended, injection: Injection | None) -> Iterator[str]:
        """Production serves the version or nothing, and the ledger knows which."""
        now = invariants.serving(self.world, self.version)
        yield from invariants.the_cause_is_named(ended, injection)
        yield from invariants.the_ledger_is_right(now, ended, injection)
        yield from invariants.in_service(now, *([None] if ended.exit_code == 0 else [self.before, None]))


SCENARIOS = (Create, CreateBad, Update, UpdateBad, UpdateCrash, UpdateType, Automatic, Rollback, Unchanged, Retire)
