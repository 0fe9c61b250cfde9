"""The version that a rollback returns to, as it ran, whatever the registry says of it now."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from delivery.errors import DeliveryError, InputError
from delivery.history import rollback_target
from delivery.history.ledger import Event
from tests.delivery.history.test_serving_history import bringing

ARN = "arn:aws:sagemaker:us-west-2:111122223333:model-package/release-chat/1"


class Registry:
    """A SageMaker client whose version has this status; None: it is gone."""

    def __init__(self, status: str | None, error: str = "ModelPackage does not exist.") -> None:
        self._status, self._error = status, error

    def describe_model_package(self, **_: Any) -> dict[str, Any]:
        if self._status is None:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": self._error}}, "DescribeModelPackage")
        return {
            "ModelPackageArn": ARN,
            "ModelPackageGroupName": "release-chat",
            "ModelPackageVersion": 1,
            "ModelApprovalStatus": self._status,
            "CustomerMetadataProperties": {"note": "of today"},
        }


EVENTS: list[Event] = [
    bringing("promoted", "one", 1, container={"Image": "as it was"}).model_copy(update={"model_package": ARN}),
    bringing("promoted", "two", 2).model_copy(update={"model_package": ARN[:-1] + "2"}),
]


@pytest.mark.parametrize(
    ("status", "approval", "deployable"),
    [
        ("Approved", "Approved", True),
        ("Rejected", "Rejected", False),
        ("PendingManualApproval", "PendingManualApproval", False),
        (None, "", False),
    ],
)
def test_it_is_what_ran_and_spelt_out_unless_it_is_approved(status: str | None, approval: str, deployable: bool) -> None:
    found = rollback_target.find(EVENTS, ARN, cast(Any, Registry(status)))
    assert found.event == EVENTS[0]
    assert found.is_deployable is deployable
    assert (found.package.arn, found.package.group, found.package.version) == (ARN, "release-chat", 1)
    assert found.package.approval_status == approval
    assert found.package.container == {"Image": "as it was"}
    assert found.package.facts == {"weights:revision": "0" * 40}, "not those of today"


def test_what_it_ran_last_counts() -> None:
    again = bringing("rolled_back", "three", 3, container={"Image": "later"}).model_copy(
        update={"model_package": ARN, "version": 1}
    )
    found = rollback_target.find([*EVENTS, again], ARN, cast(Any, Registry("Approved")))
    assert found.package.container == {"Image": "later"}


def test_what_never_served_cannot_be_returned_to() -> None:
    approved = EVENTS[0].model_copy(update={"kind": "approved", "model_package": ARN[:-1] + "9"})
    with pytest.raises(InputError, match=r"production never served .*/9 by the ledger: there is nothing to return to"):
        rollback_target.find([*EVENTS, approved], ARN[:-1] + "9", cast(Any, Registry("Approved")))


def test_a_registry_that_cannot_be_asked_is_an_error() -> None:
    with pytest.raises(DeliveryError, match=r"could not read .*Throttling"):
        rollback_target.find(EVENTS, ARN, cast(Any, Registry(None, "Throttling: slow down")))
