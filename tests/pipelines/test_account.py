"""What an account on this machine has before the first release is made whole by the next start, wherever the last one was ended."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from config.loader import load_environment
from pipelines.setup.local import account


class Absent(Exception):
    """What is asked for is not there."""


@pytest.mark.parametrize(
    ("rule", "targets", "made"),
    [
        pytest.param(False, [], ["rule", "target"], id="none"),
        pytest.param(True, [], ["target"], id="ended before it had its target"),
        pytest.param(True, ["promotion"], [], id="whole"),
    ],
)
def test_the_rule_for_approvals_starts_something(rule: bool, targets: list[str], made: list[str]) -> None:
    client: Any = mock.Mock()
    client.exceptions.ResourceNotFoundException = Absent
    client.exceptions.BucketAlreadyOwnedByYou = Absent
    client.describe_rule.side_effect = None if rule else Absent
    client.list_targets_by_rule.return_value = {"Targets": targets}
    client.list_buckets.return_value = {"Buckets": []}
    client.create_bucket.side_effect = Absent  # a request whose answer got lost had made it
    with mock.patch("boto3.client", return_value=client):
        account.prepare(load_environment("local"))
    assert [name for name, put in {"rule": client.put_rule, "target": client.put_targets}.items() if put.called] == made
