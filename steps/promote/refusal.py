"""Why a version did not reach production, for the ledger: an audit has refusals, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from delivery.errors import DeliveryError, LeaseHeld, LeaseLost, LedgerBroken
from steps.promote.context import PromotionContext


@contextmanager
def refusal_in_ledger(context: PromotionContext) -> Iterator[None]:
    """Write into the ledger why a version did not reach production. One who lost the lease has no say any more."""
    try:
        yield
    except (LeaseHeld, LeaseLost, LedgerBroken):
        raise
    except DeliveryError as error:
        if context.in_ledger:
            raise  # it did reach production
        try:
            write_refusal(context, error)
        except DeliveryError as unsaid:
            raise DeliveryError(f"{error}; nor could the ledger be told of it: {unsaid}") from error
        raise


def write_refusal(context: PromotionContext, error: DeliveryError) -> None:
    """Append the refusal, with whether production was touched and the words of the approval that the try went by."""
    context.lease.check()
    arguments = context.arguments
    version = arguments.model_package.rsplit("/", 1)[1]
    context.ledger.append(
        "refused",
        by=arguments.who,
        version=int(version) if version.isdigit() else None,
        model_package=arguments.model_package,
        details={
            "reason": str(error),
            "intent": arguments.intent,
            "tried": context.endpoint.touched,
            "approval": context.approval,
            "execution": arguments.execution,
            "endpoint": context.endpoint.name,
        },
    )
