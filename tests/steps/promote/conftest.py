"""One server for each module, and no endpoint left between two tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.steps.promote.world import World
from tests.steps.promote.world import world as new_world


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with new_world(tmp_path_factory.mktemp("promote")) as made:
        yield made


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    yield shared
    shared.clean_up()
