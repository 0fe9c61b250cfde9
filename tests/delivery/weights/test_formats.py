"""Headers of weight files, judged as the formats' own readers judge them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import gguf
import numpy
import numpy.typing
import pytest
import safetensors.numpy

from delivery.errors import InputError
from delivery.weights.formats import header_check


def refusal(name: str, body: bytes, piece_bytes: int = 1000) -> str:
    """Why the file is refused, fed in pieces; empty if it is not."""
    check = header_check(name, len(body))
    assert check is not None
    try:
        for start in range(0, len(body), piece_bytes):
            check.update(body[start : start + piece_bytes])
        check.finish()
    except InputError as error:
        return str(error)
    return ""


def headed(header: dict[str, Any] | str) -> bytes:
    """A safetensors file's beginning."""
    body = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(body).to_bytes(8, "little") + body


def described(**changes: Any) -> dict[str, Any]:
    """A tensor of four bytes, with something else of it."""
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}


def safetensors_file() -> bytes:
    tensors: dict[str, numpy.typing.NDArray[Any]] = {
        "a": numpy.zeros((3, 4), numpy.float32),
        "b": numpy.ones((5,), numpy.int8),
        "none": numpy.zeros((0, 3), numpy.float16),
        "scalar": numpy.array(3.0),
    }
    return safetensors.numpy.save(tensors, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 2)
    writer.add_array("tokenizer.ggml.tokens", ["a", "bc", "def"])
    writer.add_float32("some.number", 1.5)
    writer.add_bool("some.switch", True)
    writer.add_tensor("t1", numpy.zeros((4, 32), numpy.float32))
    writer.add_tensor("t2", numpy.zeros((8,), numpy.float16))
    writer.add_tensor("q", numpy.zeros((2, 34), numpy.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def mutated(body: bytes, chance: random.Random, within: int) -> bytes:
    """The file with one to three bytes changed, taken out, put in, or its end cut off."""
    result = bytearray(body)
    for _ in range(chance.choice([1, 1, 2, 3])):
        place = chance.randrange(min(len(result), within))
        match chance.choice(["change"] * 7 + ["take", "put", "cut"]):
            case "change":
                result[place] = chance.choice([0, 1, 255, chance.randrange(256)])
            case "take":
                del result[place]
            case "put":
                result.insert(place, chance.randrange(256))
            case "cut":
                del result[place + 1 :]
    return bytes(result)


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_good_files_pass_in_pieces_of_any_size(gguf_file: bytes, piece_bytes: int) -> None:
    assert refusal("model.safetensors", safetensors_file(), piece_bytes) == ""
    assert refusal("model.gguf", gguf_file, piece_bytes) == ""


def test_the_safetensors_library_takes_and_refuses_the_same_files() -> None:
    body, chance = safetensors_file(), random.Random(7)
    taken = 0
    for _ in range(3000):
        candidate = mutated(body, chance, 320)
        try:
            safetensors.numpy.load(candidate)
        except Exception:  # noqa: BLE001  (the library raises errors of many kinds)
            assert refusal("model.safetensors", candidate)
        else:
            assert refusal("model.safetensors", candidate) == ""
            taken += 1
    assert 100 < taken < 2900


def test_what_the_gguf_library_cannot_read_is_refused(gguf_file: bytes, tmp_path: Path) -> None:
    """Ours is stricter in one thing, in which the specification is: tensors begin at multiples of the alignment."""
    chance, file, taken = random.Random(7), tmp_path / "model.gguf", 0
    for _ in range(600):
        candidate = mutated(gguf_file, chance, 520)
        file.write_bytes(candidate)
        why = refusal("model.gguf", candidate)
        try:
            gguf.GGUFReader(file)
        except Exception:  # noqa: BLE001  (the library raises errors of many kinds)
            assert why
        else:
            assert why == "" or "no multiple of" in why
            taken += 1
    assert 20 < taken < 580


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "ends inside its header"),
        (b"1234567", "length of its header"),
        (b"\x80\x04\x95" + bytes(100), "it is a pickle"),
        (b"PK\x03\x04" + bytes(100), "it is a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        ((100_000_000_000).to_bytes(8, "little") + b"{}", "100,000,000 are the most"),
        ((99_999_999).to_bytes(8, "little") + b"{}", "would have 100,000,007 bytes"),
        ((200_002).to_bytes(8, "little") + b"[" * 200_002, "not JSON"),
        ((2).to_bytes(8, "little") + b"[]", "not a JSON object"),
        ((2).to_bytes(8, "little") + b"{}x", "its tensors have 0 bytes, and 1 follow"),
        ((9).to_bytes(8, "little") + b'{"a":NaN}', "not described as a tensor"),
        (headed({"a": described(shape=[2**40, 2**40, 0], data_offsets=[0, 0])}), "more than 64 bits hold"),
        (headed({"a": described(shape=[2**64, 0], data_offsets=[0, 0])}), "no whole numbers of 64 bits"),
        (headed({"__metadata__": {"format": 1}}), "__metadata__ is not an object of strings"),
        (headed({"__metadata__": ["pt"]}), "__metadata__ is not an object of strings"),
        (headed({"\ud800": described()}) + bytes(4), "not described as a tensor"),
        (
            headed('{"a": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}') + bytes(4),
            "'dtype' stands twice",
        ),
    ],
)
def test_what_is_no_safetensors_file_is_named(body: bytes, says: str) -> None:
    with pytest.raises(Exception):  # noqa: B017  (the library raises errors of many kinds)
        safetensors.numpy.load(body)
    why = refusal("model.safetensors", body)
    assert says in why
    assert why.startswith("model.safetensors is not a safetensors file")


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"a": {"dtype": "F32", "shape": [2**63 - 1] * 100_000, "data_offsets": [0, 4]}}, "more than 64 bits hold"),
        ({"a": {"dtype": "F32", "shape": [1] * 100_000, "data_offsets": [0, 8]}}, "(100,000 in all)"),
        ({"n" * 100_000: {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "begins at 4"),
        ({"a": {"dtype": "F32", "shape": [[]] * 100_000, "data_offsets": [0, 4]}}, "not described as a tensor"),
    ],
)
def test_a_header_is_refused_in_one_short_line_whatever_its_numbers(tensors: dict[str, Any], says: str) -> None:
    """The first took minutes: a product of 100,000 large numbers."""
    why = refusal("model.safetensors", headed(tensors) + bytes(4))
    assert says in why
    assert len(why) < 800


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"GGUF", "4 bytes"),
        (b"GGML" + bytes(20), "begins with b'GGML'"),
        (b"GGUF" + (1).to_bytes(4, "little") + bytes(16), "version 1"),
        (b"GGUF\x03\0\0\0" + (2**60).to_bytes(8, "little") + bytes(8), "tensors and"),
        (b"GGUF\x03\0\0\0" + bytes(8) + (1).to_bytes(8, "little") + (2**62).to_bytes(8, "little") + bytes(99), "a string"),
    ],
)
def test_what_is_no_gguf_file_is_named(body: bytes, says: str) -> None:
    assert says in refusal("model.gguf", body)


def test_a_header_that_never_ends_is_not_kept_in_memory() -> None:
    """A file of 100 GB may say that its header has 90 GB."""
    check = header_check("model.safetensors", 100 * 1024**3)
    assert check is not None
    with pytest.raises(InputError, match="are the most"):
        check.update((90 * 1024**3).to_bytes(8, "little"))


def test_other_files_are_not_looked_at() -> None:
    assert header_check("tokenizer.json", 10) is None
