"""Paths of a repository that must not become object keys or file names."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.errors import InputError
from delivery.hub.paths import refuse_collisions, refuse_unsafe

WHERE = "org/name at 0123"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/etc/cron.d/x", "absolute"),
        ("../x", "`..`"),
        ("a/../../x", "`..`"),
        ("a/./x", "`.`"),
        ("a//x", "empty part"),
        ("", "empty part"),
        ("a/", "empty part"),
        ("..", "`..`"),
        ("a\\..\\x", "backslash"),
        ("a\x00b", "cannot be shown"),
        ("a\x1b[2Jb", "cannot be shown"),
        ("a\nb", "cannot be shown"),
        ("a\x7f", "cannot be shown"),
        ("a\x85", "cannot be shown"),
        ("a\u2028b", "cannot be shown"),
        ("a\ud800b", "cannot be shown"),
        ("a\u202egpj.exe", "cannot be shown"),
        ("config\u200c.json", "cannot be shown"),
        ("con\u00adfig.json", "cannot be shown"),
        ("\ufeffconfig.json", "cannot be shown"),
        ("config\U000e0041.json", "cannot be shown"),
        ("n" * 256, "255 bytes"),
        ("é" * 128, "255 bytes"),
    ],
)
def test_a_path_that_leaves_its_folder_or_cannot_be_shown_is_refused(path: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        refuse_unsafe(["config.json", path], WHERE)
    assert str(refused.value).isprintable()
    assert WHERE in str(refused.value)


@pytest.mark.parametrize(
    "paths",
    [
        ["model.safetensors", "Model.safetensors"],
        ["straße.json", "STRASSE.json"],
        [unicodedata.normalize("NFC", "é.json"), unicodedata.normalize("NFD", "é.json")],
        ["a/x", "A/x"],
    ],
)
def test_two_paths_that_are_one_file_somewhere_are_refused(paths: list[str]) -> None:
    with pytest.raises(InputError, match="are one file") as refused:
        refuse_collisions(paths, "weights/org/name/", WHERE)
    assert all(ascii(path) in str(refused.value) for path in paths)


def test_no_file_takes_the_place_of_the_manifest() -> None:
    with pytest.raises(InputError, match=r"'manifest\.json' and 'Manifest\.JSON' are one file"):
        refuse_collisions(["config.json", "Manifest.JSON"], "weights/org/name/", WHERE)
    with pytest.raises(InputError, match=r"'manifest\.json' is a file and, for 'manifest\.json/x', a folder"):
        refuse_collisions(["config.json", "manifest.json/x"], "weights/org/name/", WHERE)


@pytest.mark.parametrize("paths", [["a", "a/b"], ["a/b/c", "a/B"], ["x", "a/b", "a"]])
def test_a_file_that_is_a_folder_too_is_refused(paths: list[str]) -> None:
    with pytest.raises(InputError, match="a folder"):
        refuse_collisions(paths, "", WHERE)


def test_a_key_is_1024_bytes_long_at_most() -> None:
    path = "/".join(["é" * 100] * 4)
    refuse_collisions([path], "w" * (1024 - len(path.encode())), WHERE)
    with pytest.raises(InputError, match="1,024 bytes"):
        refuse_collisions([path], "w" * (1025 - len(path.encode())), WHERE)


def test_ordinary_repositories_pass() -> None:
    paths = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "1_Pooling/config.json",
        "README.md",
        "日本語/メモ.txt",
        "a b/c (1).json",
    ]
    refuse_unsafe(paths, WHERE)
    refuse_collisions(paths, "weights/", WHERE)


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=20), max_size=8))
def test_what_passes_stays_in_its_folder(paths: list[str]) -> None:
    try:
        refuse_unsafe(paths, WHERE)
    except InputError:
        return
    for path in paths:
        assert os.path.normpath(os.path.join("/folder", path)) == f"/folder/{path}"  # noqa: PTH118 (the rule that systems follow)
