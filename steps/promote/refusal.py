"""Why a version did not reach production, for the ledger: an audit has refusals, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from delivery.errors import DeliveryError, LeaseHeld, LeaseLost, LedgerBroken
from steps.promote import intent
from steps.promote.context import PromotionContext


@contextmanager
def refusal_in_ledger(context: PromotionContext) -> Iterator[None]:
    """Write into the ledger why a version did not reach production. One who lost the lease has no say any more.

    Where the endpoint serves the version, or may be about to, it is no refusal: the change stays open in the ledger for the next run.
    """
    try:
        yield
    except (LeaseHeld, LeaseLost, LedgerBroken):
        raise
    except DeliveryError as error:
        if context.in_ledger:
            raise  # it did reach production
        if open_end := intent.open_end(context):
            raise DeliveryError(f"{error}; {open_end}") from error
        try:
            write_refusal(context, error)
        except DeliveryError as unsaid:
            raise DeliveryError(f"{error}; nor could the ledger be told of it: {unsaid}") from error
        if context.endpoint.lost:
            raise DeliveryError(f"{error}; the next run does that: {intent.settling_run(context)}") from error
        raise


def write_refusal(context: PromotionContext, error: DeliveryError) -> None:
    """Append the refusal, with whether production was touched and the words of the approval that the try went by."""
    context.lease.check()
    arguments = context.arguments
    context.ledger.append(
        "refused",
        by=arguments.who,
        version=arguments.version,
        model_package=arguments.model_package,
        details={
            "reason": str(error),
            "intent": arguments.intent,
            "tried": context.endpoint.touched and arguments.intent != "retirement",
            "approval": context.approval,
            "execution": arguments.execution,
            "endpoint": context.endpoint.name,
            **({"closes": context.change.sequence} if context.change else {}),
            **({"unfinished": [*context.endpoint.lost]} if context.endpoint.lost else {}),
        },
    )
