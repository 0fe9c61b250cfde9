"""What the tests of all steps share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clients import new_default_session


@pytest.fixture(autouse=True)
def own_session() -> Iterator[None]:
    """Let no test have the credentials of another: boto3 keeps those that it found first."""
    with new_default_session():
        yield
