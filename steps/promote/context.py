"""What the phases of one promotion share."""

from __future__ import annotations

import time

from config.schema import Release
from delivery.endpoint.lease import Lease
from delivery.history.ledger import Event, Ledger
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage
from steps.promote.endpoint.clients import PromotionClients
from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from steps.promote.models import PromotionArguments


class PromotionContext:
    """One promotion, by the holder of the lease."""

    def __init__(self, arguments: PromotionArguments, clients: PromotionClients, held: Lease) -> None:
        self.arguments, self.clients, self.lease = arguments, clients, held
        self.endpoint = ProductionEndpoint(arguments.release, clients, held)
        self.ledger = Ledger(clients.s3, arguments.release.environment.bucket, arguments.release.name)
        self.in_ledger = False
        """Whether the ledger has it that the version reached production."""
        self.change: Event | None = None
        """The event `changing` of what this try does, or goes on with; None while production is untouched."""
        self.approval: str | None = None
        """The words of the approval that this try goes by; None where it goes by none, as a rollback does."""
        self.ledger_seen = arguments.ledger_seen
        """The last event of the ledger that a rollback goes by; None until the step has looked, where whoever asked for it does not say."""
        self._started_s = time.monotonic()

    @property
    def release(self) -> Release:
        """The resolved model file."""
        return self.arguments.release

    @property
    def is_rollback(self) -> bool:
        """Whether it is to a version that production served before."""
        return self.arguments.intent == "rollback"

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return round(time.monotonic() - self._started_s, 3)

    def read_version(self) -> ModelPackage:
        """Read the version as the registry has it now, and keep the words of its approval."""
        package = model_packages.read(self.clients.registry, self.arguments.model_package)
        self.approval = package.approval_description
        return package
