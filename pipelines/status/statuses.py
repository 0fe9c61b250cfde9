"""The status of a model, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class VersionStatus:
    """A version in the registry."""

    version: int
    approval_status: str
    verdict: str
    """The gate's; empty when it was not evaluated yet."""
    revision: str
    created: str
    waits_for_approval: bool
    """Whether it passed the gate and waits for a person."""
    waits_for_evaluation: bool = False
    """Whether the numbers of its evaluation decided nothing: it is measured again, or rejected."""


@dataclass(frozen=True)
class StagingStatus:
    """An endpoint of an evaluation."""

    endpoint: str
    status: str
    expires_at: str


@dataclass(frozen=True)
class VariantStatus:
    """How many instances a production variant has, and wants."""

    name: str
    instances: int
    desired_instances: int
    weight: float


@dataclass(frozen=True)
class ProductionStatus:
    """The production endpoint."""

    endpoint: str
    account_id: str
    status: str
    """SageMaker's, or `absent`."""
    version: int | None = None
    """By the tags of what it serves; None when this project did not make it."""
    config: str = ""
    variants: list[VariantStatus] = field(default_factory=list)
    alarms: dict[str, str] = field(default_factory=dict)
    """Each alarm that guards it, and its state."""


@dataclass(frozen=True)
class ExecutionStatus:
    """A pipeline execution that is under way."""

    arn: str
    pipeline: str
    status: str
    started: str


@dataclass(frozen=True)
class LeaseStatus:
    """Who may change production now."""

    execution: str
    owner: str
    expires_at: str


@dataclass(frozen=True)
class ModelStatus:
    """A model as registry, staging, production and pipelines know it."""

    model: str
    versions: list[VersionStatus]
    staging: list[StagingStatus]
    production: ProductionStatus | None
    """None when the model was never in production and no file says where it would go, and when access to production was refused."""
    production_refused: str
    """Why production, in another account, refused access, and what to do; empty where it did not."""
    ledger_version: int | None
    """What production serves by the ledger."""
    drift: list[str]
    """What production is and the ledger does not know of; empty when they agree."""
    executions: list[ExecutionStatus]
    lease: LeaseStatus | None
    unfinished: list[str] = field(default_factory=list)
    """What a change of production left undone; empty while somebody works on it."""
    retired: str = ""
    """When, by whom and why production was taken out of service; empty unless it is."""

    @property
    def pending(self) -> list[int]:
        """The versions that wait for a person."""
        return [version.version for version in self.versions if version.waits_for_approval]

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {**asdict(self), "pending_approvals": self.pending}
