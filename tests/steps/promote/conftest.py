"""Promotions against a fake AWS, new for each test, and against one server a worker, on which no endpoint is left between two tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.worlds.promotion import PromotionWorld, ServedPromotions, fake_promotions, served_promotions


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PromotionWorld]:
    with fake_promotions(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPromotions]:
    with served_promotions(tmp_path_factory.mktemp("promote")) as made:
        yield made


@pytest.fixture
def served(shared: ServedPromotions) -> Iterator[ServedPromotions]:
    yield shared
    shared.clean_up()
