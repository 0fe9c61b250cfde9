from __future__ import annotations

import json
from typing import Any

import pytest

from config.weights import Weights
from delivery.errors import InputError
from delivery.hub.fetch_settings import MAX_OBJECT_BYTES
from delivery.hub.selection import HubFile, Listing, Selection, select


def listing(*paths: str, size: int = 10) -> Listing:
    return Listing("acme/model", "0" * 40, tuple(HubFile(path, size, "0" * 40, "1" * 64) for path in paths))


def choose(found: Listing, documents: dict[str, Any] | None = None, **weights: Any) -> Selection:
    words = Weights.model_validate({"repository": "acme/model", "revision": "0" * 40, **weights})
    return select(found, {path: json.dumps(value).encode() for path, value in (documents or {}).items()}, words)


def paths(selection: Selection) -> list[str]:
    return [f.path for f in selection.files]


def test_safetensors_win_over_everything_that_repeats_them() -> None:
    found = listing("model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "LICENSE", ".gitattributes")
    selection = choose(found)
    assert paths(selection) == ["LICENSE", "model.safetensors"]
    assert "pytorch_model.bin" in selection.notes[0]
    assert paths(choose(found, unsafe=["pickle"])) == paths(selection)


def test_gguf_alone_will_do() -> None:
    assert paths(choose(listing("README.md", "model.gguf"))) == ["README.md", "model.gguf"]


@pytest.mark.parametrize(
    ("found", "documents", "weights", "told"),
    [
        (listing("README.md"), {}, {}, ["no *.safetensors", "README.md"]),
        (listing("a.bin", "b.pt"), {}, {}, ["a.bin, b.pt", "weights.unsafe: [pickle]"]),
        (listing("a.safetensors"), {}, {"include": ["*.gguf"]}, ["weights.include", "*.gguf"]),
        (
            listing("a.safetensors", "modeling_x.py"),
            {"config.json": {"auto_map": {"AutoModel": "modeling_x.X"}}},
            {},
            ["modeling_x.py", "weights.unsafe: [remote_code]"],
        ),
        (
            listing("a-1.safetensors", "model.safetensors.index.json"),
            {"model.safetensors.index.json": {"weight_map": {"x": "a-1.safetensors", "y": "a-2.safetensors"}}},
            {},
            ["a-2.safetensors", "not among the chosen files"],
        ),
        (
            listing("a.safetensors", "model.safetensors.index.json"),
            {"model.safetensors.index.json": {}},
            {},
            ["no weight_map"],
        ),
        (listing("a.safetensors", size=600), {}, {"max_bytes": 599}, ["600 bytes", "weights.max_bytes 599"]),
        (listing("a.safetensors", size=MAX_OBJECT_BYTES + 1), {}, {}, ["a.safetensors", f"{MAX_OBJECT_BYTES:,}"]),
        (listing("a.safetensors", "config.json"), {"config.json": [1]}, {}, ["config.json", "expected an object"]),
    ],
)
def test_what_must_not_be_served_is_refused(
    found: Listing, documents: dict[str, Any], weights: dict[str, Any], told: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        choose(found, documents, **weights)
    assert all(words in str(caught.value) for words in [*told, "acme/model at 000"])


def test_weights_that_no_index_names_are_not_fetched_and_what_that_saves_is_said() -> None:
    index = {"model.safetensors.index.json": {"weight_map": {"x": "model-1.safetensors"}}}
    found = listing("model-1.safetensors", "model.safetensors.index.json", "consolidated.safetensors", "original/m.safetensors")
    selection = choose(found, index)
    assert paths(selection) == ["model-1.safetensors", "model.safetensors.index.json"]
    [note] = selection.notes
    assert "no server reads it: consolidated.safetensors, original/m.safetensors: 20 of 40 bytes" in note
    assert selection.left_out_bytes == 20
    assert choose(found, index, exclude=["consolidated.*", "original/*"]).notes == []


def test_pickles_and_code_only_when_the_model_file_names_them() -> None:
    assert paths(choose(listing("a.bin"), unsafe=["pickle"])) == ["a.bin"]
    code = listing("a.safetensors", "x.py")
    automatic = {"config.json": {"auto_map": {"AutoModel": "x.X"}}}
    assert paths(choose(code, automatic, unsafe=["remote_code"])) == ["a.safetensors", "x.py"]
    assert paths(choose(code, automatic, exclude=["*.py"])) == ["a.safetensors"]
    assert paths(choose(code)) == ["a.safetensors"]


def test_patterns_match_whole_paths() -> None:
    found = listing("a.safetensors", "original/a.safetensors", "b.gguf")
    assert paths(choose(found, exclude=["original/*"])) == ["a.safetensors"]
    assert paths(choose(found, include=["*.gguf"])) == ["b.gguf"]


@pytest.mark.parametrize("path", ["config.json", "model.safetensors.index.json"])
def test_a_document_nested_without_end_is_one_clear_error(path: str) -> None:
    words = Weights.model_validate({"repository": "acme/model", "revision": "0" * 40})
    with pytest.raises(InputError, match=f"{path} of acme/model at 0+ is not JSON"):
        select(listing("model.safetensors", path), {path: b'{"a":' * 10_000}, words)
