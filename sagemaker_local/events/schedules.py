"""EventBridge rules with a schedule: ``rate(1 hour)`` starts its targets every hour. moto keeps such rules, and never starts them.

"A rate expression starts when you create the scheduled event rule, and then it runs on a defined schedule" ("Creating a rule that runs on a
schedule", EventBridge's user guide). What came due while no server ran is made up for once, soon after the next start: then what a killed
run left is not there for another whole interval.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from sagemaker_local.events.rules import deliver
from sagemaker_local.moto_bridge.patching import replace_method

if TYPE_CHECKING:
    from moto.events.models import EventsBackend, Rule
    from moto.events.utils import EventMessageType

    from sagemaker_local.context import Context

NOT_EMULATED = ("PutRule with a ScheduleExpression cron(...) is not emulated: give rate(...).",)
"""The messages, for the documentation."""
_INTERVAL_S = 1.0
_KIND = "schedule"
_RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)(s?)\)")
_UNIT_S = {"minute": 60, "hour": 3600, "day": 86_400}
_LOGGER = logging.getLogger(__name__)


def interval_s(expression: str) -> int | None:
    """Return the seconds of a rate expression; None where it is none.

    >>> interval_s("rate(1 hour)"), interval_s("rate(5 minutes)"), interval_s("rate(1 hours)")
    (3600, 300, None)
    """
    found = _RATE.fullmatch(expression)
    if found is None or (found[1] == "1") == bool(found[3]):
        return None
    return int(found[1]) * _UNIT_S[found[2]]


@functools.cache
def install() -> None:
    """Let moto refuse the schedules that nothing here starts, once."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.events.exceptions import ValidationException
    from moto.events.models import EventsBackend

    put = EventsBackend.put_rule

    def put_rule(backend: EventsBackend, *arguments: Any, **named: Any) -> Rule:
        expression = named.get("scheduled_expression") or ""
        if expression.startswith("cron("):
            raise NotImplementedError(NOT_EMULATED[0])
        if expression and interval_s(expression) is None:
            raise ValidationException("Parameter ScheduleExpression is not valid.")
        return put(backend, *arguments, **named)

    replace_method(EventsBackend, put, put_rule)


async def run(context: Context) -> None:
    """Start what is due, every second, until cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL_S)
        try:
            await asyncio.to_thread(start_due, context, time.time())
        except Exception:
            _LOGGER.exception("schedules")


def start_due(context: Context, now: float) -> None:
    """Start the targets of every enabled rule whose time has come, and forget the times of rules that are gone."""
    waiting = dict(context.store.list(_KIND))
    for region in context.moto.regions("events"):
        for rule in list(context.moto.backend("events", region).describe_event_bus("default").rules.values()):
            length_s = interval_s(rule.scheduled_expression or "")
            if length_s is None:
                continue
            key = f"{region}/{rule.name}"
            known = waiting.pop(key, {})
            if known.get("expression") != rule.scheduled_expression:  # new, or changed
                context.store.put(_KIND, key, {"expression": rule.scheduled_expression, "due": now + length_s})
            elif now >= known["due"]:
                context.store.put(_KIND, key, {**known, "due": now + length_s})
                if rule.state != "DISABLED":
                    deliver(context, rule, _event(context, rule, now))
    for key in waiting:
        context.store.delete(_KIND, key)


def _event(context: Context, rule: Rule, now: float) -> EventMessageType:
    """Return what a target gets ("Schedule event pattern" in the user guide)."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": context.account_id,
        "time": now,
        "region": rule.region_name,
        "resources": [rule.arn],
        "detail": {},
    }
