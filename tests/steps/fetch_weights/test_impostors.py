"""Weight files that are none, with the very bytes that the Hub lists: no manifest is written, so nothing is registered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from delivery.errors import InputError
from delivery.hub.fetch_settings import MIB, FetchSettings
from local_hub.hub import LocalHub
from steps.fetch_weights import step
from steps.fetch_weights.models import FetchArguments
from tests.support.worlds import fetching

CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"]}).encode()
LATE_HOLE = {"a": {"dtype": "U8", "shape": [6 * MIB], "data_offsets": [1, 6 * MIB + 1]}}


def file_of(header: object, buffer_bytes: int) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(buffer_bytes)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.safetensors", b"\x80\x04\x95" + bytes(5000), "it is a pickle"),
        ("model.safetensors", b"PK\x03\x04" + bytes(6 * MIB), "a zip archive"),
        ("model.safetensors", (100 * 1024**3).to_bytes(8, "little") + bytes(5000), "are the most"),
        ("model.safetensors", file_of(LATE_HOLE, 6 * MIB + 1), "begins at 1"),
        (
            "model.safetensors",
            file_of({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}, 12),
            "12 follow the header",
        ),
        ("model.safetensors", b"", "ends inside its header"),
        ("model.gguf", b"GGUF\x03\0\0\0" + (2**60).to_bytes(8, "little") + bytes(5000), "tensors and"),
        ("model.gguf", b"not a model at all, but long enough to be looked at", "begins with"),
    ],
)
def test_a_weight_file_that_no_engine_could_load_is_refused(
    aws: str, root: Path, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    fetching.write_repository(root, "acme/impostor", {"config.json": CONFIG, name: content})
    with LocalHub(root=root, builtin=False) as hub:
        given = fetching.release("acme/impostor", hub.revision("acme/impostor"))
        arguments = FetchArguments(given, hub.endpoint, "exec-1", tmp_path / "output")
        with pytest.raises(InputError, match=says) as refused:
            step.run(arguments, FetchSettings(part_bytes=5 * MIB, stop_grace_s=2))
    assert str(refused.value).startswith(f"{name} is not a")
    assert "manifest.json" not in fetching.keys(aws, given)
    assert name not in fetching.keys(aws, given)
    assert fetching.open_uploads(aws, given) == []
