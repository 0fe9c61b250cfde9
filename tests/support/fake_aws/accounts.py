"""STS, EventBridge and Secrets Manager: who calls, which rules there are, and the token of the Hub."""

from __future__ import annotations

from typing import Any

from local_hub.hub import DEFAULT_TOKEN
from tests.support.fake_aws.shapes import ACCOUNT, FakeService


class FakeSts(FakeService):
    """Everybody is one person."""

    SERVICE = "sts"

    def _get_caller_identity(self) -> dict[str, Any]:
        return {"Account": ACCOUNT, "UserId": "AIDA", "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/engineer/ana"}


class FakeSecrets(FakeService):
    """One secret for every name: the token of the local Hub."""

    SERVICE = "secretsmanager"

    def _get_secret_value(self, SecretId: str) -> dict[str, Any]:
        return {"Name": SecretId, "SecretString": DEFAULT_TOKEN}


class FakeEvents(FakeService):
    """No rule answers an event: tests start what follows themselves."""

    SERVICE = "events"

    def _list_rule_names_by_target(self, **_: Any) -> dict[str, Any]:
        return {"RuleNames": []}
