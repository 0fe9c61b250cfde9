"""Names from outside become files below their folder, or none: keys of S3, members of archives, in jobs and endpoints."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagemaker_local.errors import InputError, UnsafeNameError
from sagemaker_local.jobs import fetch
from sagemaker_local.processes.layout import InstanceLayout
from sagemaker_local.received_files import ReceivedFiles, extract
from tests.sagemaker_local.hosting_client import HostingClient

OUTSIDE = ["../escaped", "a/../../escaped", "/etc/escaped", "//escaped", "..", "a/..", "", ".", "a\0b", "\udcff"]


def written(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_its_folder_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeNameError, match="is not written: it "), ReceivedFiles(tmp_path / "in").writing(name) as path:
        path.write_text("x")
    assert written(tmp_path) == set()


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("a", "a/b", "one part of it is a file already"),
        ("a/b", "a", "there is a folder of that name already"),
        ("a/b", "a//b", "'a/b' is the same file on this machine"),
        ("a/b", "a/./b", "'a/b' is the same file on this machine"),
        ("a", "n" * 300, "it is longer than this machine's file names may be"),
        ("a", "/".join(["folder"] * 1000), "it is longer than this machine's file names may be"),
    ],
)
def test_a_second_name_takes_nothing_from_the_first(tmp_path: Path, first: str, second: str, why: str) -> None:
    files = ReceivedFiles(tmp_path)
    with files.writing(first) as path:
        path.write_text("first")
    with pytest.raises(UnsafeNameError, match=why), files.writing(second) as path:
        path.write_text("second")
    assert (tmp_path / first).read_text() == "first"


def test_names_that_a_file_system_takes_for_one_are_refused(tmp_path: Path) -> None:
    """As APFS does with NFC beside NFD, and with case: here a hard link plays it."""
    files = ReceivedFiles(tmp_path)
    with files.writing("caf\u00e9") as path:
        path.write_text("first")
    (tmp_path / "cafe\u0301").hardlink_to(path)
    with (
        pytest.raises(UnsafeNameError, match=r"'cafe\\u0301' is not written: 'caf.' is the same file"),
        files.writing("cafe\u0301"),
    ):
        pass


@settings(max_examples=300, deadline=None)
@given(name=st.text(st.sampled_from("a./\\\0 ~é\u202e"), max_size=12))
def test_whatever_the_name_nothing_is_written_elsewhere(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        with ReceivedFiles(folder / "deep" / "in").writing(name) as path:
            path.write_text("x")
    except UnsafeNameError:
        assert written(folder) == set()
    else:
        assert [file.startswith("deep/in/") for file in written(folder)] == [True]


def archive(folder: Path, *members: tuple[str, bytes, str]) -> Path:
    """A .tar.gz of (name, type, content or link target)."""
    path = folder / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
            else:
                member.linkname = content
            tar.addfile(member, io.BytesIO(content.encode()))
    return path


FILE, LINK, HARD, FIFO = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE


@pytest.mark.parametrize(
    "members",
    [
        [("../escaped", FILE, "x")],
        [("/tmp/escaped", FILE, "x")],
        [("a/../../escaped", FILE, "x")],
        [("link", LINK, "/etc"), ("link/escaped", FILE, "x")],
        [("link", LINK, "../.."), ("link/escaped", FILE, "x")],
        [("in", LINK, "."), ("in/in/../../escaped", FILE, "x")],
        [("link", LINK, "here"), ("link/escaped", FILE, "x")],
        [("link", LINK, "/etc/passwd")],
        [("link", HARD, "/etc/passwd")],
        [("link", HARD, "../outside")],
        [("pipe", FIFO, "")],
    ],
)
def test_an_archive_writes_nothing_elsewhere(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "in").mkdir()
    path = archive(tmp_path, *members)
    with pytest.raises((UnsafeNameError, tarfile.TarError)):
        extract(path, tmp_path / "in")
    assert written(tmp_path) - {"in/link", "in/in"} == {"outside", "model.tar.gz"}


def test_links_within_an_archive_are_kept(tmp_path: Path) -> None:
    members = [
        ("./", tarfile.DIRTYPE, ""),
        ("./blobs/w", FILE, "weights"),
        ("snap/w", LINK, "../blobs/w"),
        ("again", HARD, "blobs/w"),
    ]
    extract(archive(tmp_path, *members), tmp_path / "in")
    assert {name: (tmp_path / "in" / name).read_text() for name in ("snap/w", "again")} == {
        "snap/w": "weights",
        "again": "weights",
    }


class OneListing:
    """An S3 client whose bucket has these keys."""

    def __init__(self, *keys: str) -> None:
        self._keys = keys

    class exceptions:
        ClientError = KeyError

    def get_paginator(self, _: str) -> OneListing:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        return [{"Contents": [{"Key": key, "Size": 1} for key in self._keys if key.startswith(Prefix)]}]

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(b"x")}


@pytest.mark.parametrize("key", ["in/../../escaped", "in/a/b", "in/x\0y"])
def test_an_input_with_such_a_key_fails_its_job_for_that_reason(tmp_path: Path, key: str) -> None:
    source = fetch.S3Source("weights", "s3://bucket/in/")
    with pytest.raises(
        InputError, match=r"^ClientError: Failed to download data\. Of the keys in s3://bucket, '.*' is not written: "
    ):
        fetch.bring(OneListing("in/a", key), source, [tmp_path / "opt" / "in"])
    assert written(tmp_path) <= {"opt/in/a"}


def test_a_container_s_paths_stay_in_its_sandbox(tmp_path: Path) -> None:
    layout = InstanceLayout(tmp_path / "algo-1", "algo-1")
    for path in ("/opt/ml/../../../../etc/cron.d", "../../etc/cron.d", "//etc/cron.d"):
        assert layout.local(path) == tmp_path / "algo-1" / "etc" / "cron.d"


@pytest.mark.parametrize("key", ["w/../../../escaped", "w//escaped"])
def test_an_endpoint_does_not_download_such_a_key(hosting: HostingClient, s3: Any, a_bucket: str, key: str) -> None:
    s3.put_object(Bucket=a_bucket, Key="w/model.safetensors", Body=b"x")
    s3.put_object(Bucket=a_bucket, Key=key, Body=b"x")
    source = {"S3Uri": f"s3://{a_bucket}/w/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    name = hosting.begin(hosting.config(container={"Image": hosting.image, "ModelDataSource": {"S3DataSource": source}}))
    reason = hosting.settled(name, "Failed")["FailureReason"]
    assert reason.startswith("Failed to download model data for container")
    assert "is not written: it " in reason


def test_an_endpoint_does_not_unpack_such_an_archive(hosting: HostingClient, s3: Any, a_bucket: str, tmp_path: Path) -> None:
    s3.upload_file(str(archive(tmp_path, ("ok", FILE, "x"), ("../escaped", FILE, "x"))), a_bucket, "model.tar.gz")
    container = {"Image": hosting.image, "ModelDataUrl": f"s3://{a_bucket}/model.tar.gz"}
    name = hosting.begin(hosting.config(container=container))
    assert "'../escaped' is not written: it has '..'" in hosting.settled(name, "Failed")["FailureReason"]
