"""The great_expectations suite of the manifest (imports take seconds: one process, few tests)."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.errors import DeliveryError
from delivery.hub.selection import HubFile, Selection
from delivery.weights.manifest import Manifest, ManifestFile
from local_hub.hub import LocalHub
from steps.fetch_weights import __main__ as command
from steps.fetch_weights import expectations
from tests.support.worlds import fetching


def manifest(**changes: dict[str, object]) -> Manifest:
    files = [
        ManifestFile(path="a.safetensors", size=10, sha256="a" * 64, crc64nvme="A" * 11 + "=", crc64nvme_confirmed_by_s3=True),
        ManifestFile(
            path="config.json",
            size=3,
            sha256="b" * 64,
            git_blob_sha1="c" * 40,
            crc64nvme="B" * 11 + "=",
            crc64nvme_confirmed_by_s3=True,
        ),
    ]
    changed = [f.model_copy(update=changes.get(f.path.split(".")[0], {})) for f in files]
    return Manifest.of(fetching.release("acme/model").model.weights, changed)


def test_the_suite() -> None:
    pytest.importorskip("great_expectations")
    listed = (HubFile("a.safetensors", 10, "0" * 40, "a" * 64), HubFile("config.json", 3, "c" * 40))
    selection = Selection("acme/model", "0" * 40, listed)
    expectations.check(manifest(), selection)
    with pytest.raises(DeliveryError, match=r"expect_column_pair_values_to_be_equal \(size/hub_size\).*11") as caught:
        expectations.check(manifest(a={"size": 11}), selection)
    assert "expect_column_sum_to_be_between" in str(caught.value)
    with pytest.raises(DeliveryError, match=r"\(digest/hub_digest\)"):
        expectations.check(manifest(config={"git_blob_sha1": "d" * 40}), selection)
    more = Selection("acme/model", "0" * 40, (*listed, HubFile("b.safetensors", 1, "0" * 40, "e" * 64)))
    with pytest.raises(DeliveryError, match=r"expect_column_values_to_not_be_null \(sha256\)"):
        expectations.check(manifest(), more)


@pytest.fixture
def collector() -> Iterator[None]:
    """The command sets the garbage collector for a process of its own."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_the_step_checks_its_manifest_before_it_writes_it(
    aws: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("great_expectations")
    caplog.set_level("INFO", logger="steps")
    fetching.write_repository(root, "acme/model", fetching.model_files([2000]))
    with LocalHub(root=root, builtin=False) as hub:
        given = fetching.release("acme/model", hub.revision("acme/model"))
        release = tmp_path / "release.json"
        release.write_text(given.to_json())
        arguments = ["--release", str(release), "--hub-endpoint", hub.endpoint, "--output", str(tmp_path / "output")]
        other = manifest()
        with monkeypatch.context() as broken:
            broken.setattr(Manifest, "of", lambda *_: other)
            with pytest.raises(DeliveryError, match="expect_table_row_count_to_equal"):
                command.main([*arguments, "--expectations"])
        assert "manifest.json" not in fetching.keys(aws, given)
        monkeypatch.setattr(expectations, "LARGE_BYTES", 2000)  # undecided, a large model is checked
        command.main(arguments)
    assert "the manifest meets 14 expectations" in caplog.text
    assert "manifest.json" in fetching.keys(aws, given)


def test_the_suite_is_for_large_models_and_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("great_expectations")
    assert expectations.checker(wanted=False) is None
    assert expectations.checker(wanted=True) is expectations.check
    undecided = expectations.checker(wanted=None)
    assert undecided is not None
    undecided(manifest(), Selection("acme/model", "0" * 40, ()))  # 0 bytes: nobody looks
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert expectations.checker(wanted=None) is None
    with pytest.raises(DeliveryError, match="needs great_expectations"):
        expectations.checker(wanted=True)
