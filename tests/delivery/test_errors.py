"""A failure in clean-up never takes the cause's place, and never changes what it is."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from delivery.errors import DeliveryError, InputError, LeaseLost, LedgerBroken, cleaning_up_after

DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteModel")


@pytest.mark.parametrize("cause", [DeliveryError("no data"), InputError("no data", "weights.revision"), LedgerBroken("no data")])
@pytest.mark.parametrize(
    "worse", [DeliveryError("not deleted"), InputError("not deleted"), DENIED, KeyError("ModelName"), OSError(28, "full")]
)
def test_the_cause_comes_first_whatever_fails_behind_it(cause: DeliveryError, worse: Exception) -> None:
    with pytest.raises(type(cause)) as caught, cleaning_up_after(cause):
        raise worse
    assert str(caught.value) == f"no data; {worse}"
    assert caught.value.exit_code == cause.exit_code
    assert vars(caught.value) == vars(cause), "the key that is to be changed, too"
    assert str(cause) == "no data"


def test_who_lost_the_lease_has_nothing_to_clean_up() -> None:
    with pytest.raises(LeaseLost, match=r"^another took it$"), cleaning_up_after(DeliveryError("no data")):
        raise LeaseLost("another took it")


def test_a_clean_up_that_succeeds_says_nothing() -> None:
    with cleaning_up_after(DeliveryError("no data")):
        pass
