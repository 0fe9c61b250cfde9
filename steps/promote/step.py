"""Promote: verify, create or update the production endpoint, smoke-test it, write the ledger; whatever is wrong, the old version is back.

Three phases under one lease: `prepare` reads everything and refuses early, `deploy` changes the endpoint and smoke-tests it, `record`
writes the ledger and tidies up. The step is idempotent: an endpoint that serves the version already is left alone, and one that a killed
try left half-way is taken up where that try stopped. A rollback is the same, to a version that production served before.
"""

from __future__ import annotations

import getpass
import os
import socket

from delivery.endpoint import lease
from delivery.job.frame import progress
from delivery.names import PROMOTION_FILE
from steps.promote.clients import PromotionClients
from steps.promote.context import PromotionContext
from steps.promote.deploy import deploy
from steps.promote.models import Promotion, PromotionArguments
from steps.promote.prepare import prepare
from steps.promote.record import record
from steps.promote.refusal import refusal_in_ledger


def run(arguments: PromotionArguments) -> Promotion:
    """Promote the version and write OUTPUT/promotion.json.

    Args:
        arguments: Arguments of this run.

    Returns:
        What became of the endpoint.

    Raises:
        DeliveryError: The version must not or cannot be promoted; production serves what it did. The ledger has the reason.
        LeaseHeld: Another promotion worked on the endpoint for longer than `production.lease.wait_s`.
        LeaseLost: Another promotion took over from this one.
    """
    environment, production = arguments.release.environment, arguments.release.model.production
    clients = PromotionClients.of(environment, production.endpoint, arguments.execution)
    with lease.held(
        clients.s3,
        environment.bucket,
        production.endpoint,
        owner=_owner(),
        execution=arguments.execution,
        wait_s=production.lease.wait_s,
        expires_s=production.lease.expires_s,
        on_wait=lambda who: progress(f"waiting for another promotion to {production.endpoint}: {who}"),
    ) as held:
        promotion = promote(PromotionContext(arguments, clients, held))
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / PROMOTION_FILE).write_text(promotion.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return promotion


def promote(context: PromotionContext) -> Promotion:
    """Promote the version, as the holder of the lease. Errors as in `run`."""
    with refusal_in_ledger(context):
        prepared = prepare(context)
        change = deploy(context, prepared)
        return record(context, prepared, change)


def _owner() -> str:
    """Name this process, for people who wonder who has the lease."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"
