"""STS and EventBridge: who calls, and which rules there are."""

from __future__ import annotations

from typing import Any

from tests.support.fake_aws.shapes import ACCOUNT, FakeService


class FakeSts(FakeService):
    """Everybody is one person."""

    SERVICE = "sts"

    def _get_caller_identity(self) -> dict[str, Any]:
        return {"Account": ACCOUNT, "UserId": "AIDA", "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/engineer/ana"}


class FakeEvents(FakeService):
    """No rule answers an event: tests start what follows themselves."""

    SERVICE = "events"

    def _list_rule_names_by_target(self, **_: Any) -> dict[str, Any]:
        return {"RuleNames": []}
