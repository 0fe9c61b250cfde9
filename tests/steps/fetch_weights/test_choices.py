"""One revision, several choices of its files: each has a prefix of its own, and none disturbs another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config.schema import Release
from delivery.hub.fetch_settings import FetchSettings
from local_hub.hub import LocalHub
from steps.fetch_weights import step
from steps.fetch_weights.models import FetchArguments, WeightsOutput
from tests.support.worlds import fetching

FILES = {**fetching.model_files([5000, 3000]), "original/params.json": b"{}"}


def prefix(**weights: Any) -> str:
    return fetching.prefix_of(fetching.release("acme/model", **weights))


def test_a_choice_has_a_prefix_of_its_own_whatever_the_order_of_its_words() -> None:
    assert prefix() == f"weights/acme/model/{fetching.REVISION}/"
    chosen = prefix(exclude=["*.py", "original/*"])
    assert chosen.startswith(f"weights/acme/model/{fetching.REVISION}-")
    assert prefix(exclude=["original/*", "*.py", "*.py"]) == chosen
    others = [prefix(), prefix(include=["*.py", "original/*"]), prefix(exclude=["*.py"]), prefix(unsafe=["pickle"])]
    assert len({chosen, *others}) == 5
    assert prefix(max_bytes=10, hosts=2, memory_bytes=2**27) == prefix()


def test_two_choices_of_one_revision_stand_side_by_side(aws: str, root: Path, tmp_path: Path) -> None:
    fetching.write_repository(root, "acme/model", FILES)
    with LocalHub(root=root) as hub:
        revision = hub.revision("acme/model")
        everything = fetching.release("acme/model", revision)
        some = fetching.release("acme/model", revision, exclude=["original/*"])

        def fetch(given: Release) -> WeightsOutput:
            return step.run(FetchArguments(given, hub.endpoint, "exec-1", tmp_path / "output"), FetchSettings())

        outputs = [fetch(everything), fetch(some)]
        assert outputs[0].weights_prefix != outputs[1].weights_prefix
        assert [fetch(everything).fetched_bytes, fetch(some).fetched_bytes] == [0, 0]
    fetching.assert_complete(aws, everything, FILES)
    fetching.assert_complete(aws, some, {path: content for path, content in FILES.items() if not path.startswith("original/")})
