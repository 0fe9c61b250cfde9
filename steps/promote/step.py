"""Promote: verify, create or update the production endpoint, smoke-test it, write the ledger; whatever is wrong, the old version is back.

Three phases under one lease: `prepare` reads everything and refuses early, `deploy` changes the endpoint and smoke-tests it, `record`
writes the ledger and tidies up. The step is idempotent: an endpoint that serves the version already is left alone, and one that a killed
try left half-way is taken up where that try stopped. A rollback is the same, to a version that production served before; a retirement takes
the endpoint out of service under the same lease and ledger.
"""

from __future__ import annotations

import getpass
import os
import socket

from delivery.endpoint import lease
from delivery.endpoint.lease import LeaseRecord
from delivery.history.ledger import Ledger
from delivery.job.frame import progress
from delivery.names import PROMOTION_FILE
from steps.promote.context import PromotionContext
from steps.promote.deploy import deploy
from steps.promote.endpoint.clients import PromotionClients
from steps.promote.models import Promotion, PromotionArguments
from steps.promote.prepare import prepare
from steps.promote.record import record, report_superseded
from steps.promote.refusal import refusal_in_ledger
from steps.promote.retire import retire
from steps.promote.under_way import UnderWay, raise_if_under_way, work


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
    ledger = Ledger(clients.s3, environment.bucket, arguments.release.name)

    def on_wait(holder: LeaseRecord, lives: bool) -> None:
        progress(f"waiting for another promotion to {production.endpoint}: {holder}")
        if lives:
            raise_if_under_way(arguments, ledger, holder)

    try:
        with lease.held(
            clients.s3,
            environment.bucket,
            production.endpoint,
            owner=_owner(),
            execution=arguments.execution,
            wait_s=production.lease.wait_s,
            expires_s=production.lease.expires_s,
            work=work(arguments),
            on_wait=on_wait,
        ) as held:
            promotion = promote(PromotionContext(arguments, clients, held))
    except UnderWay as elsewhere:
        promotion = elsewhere.promotion
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / PROMOTION_FILE).write_text(promotion.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return promotion


def promote(context: PromotionContext) -> Promotion:
    """Promote the version, roll back to it or retire it, as the holder of the lease. Errors as in `run`."""
    with refusal_in_ledger(context):
        if context.arguments.intent == "retirement":
            return retire(context)
        prepared = prepare(context)
        if prepared.superseded is not None:
            return report_superseded(context, prepared, prepared.superseded)
        change = deploy(context, prepared)
        return record(context, prepared, change)


def _owner() -> str:
    """Name this process, for people who wonder who has the lease."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"
