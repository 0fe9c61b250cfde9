"""The least that moving the bytes can cost: `python -m benchmarks.fetch.bare REPOSITORY REVISION BUCKET`.

Ranges into a buffer and out of it again, in four threads; no digest, no checksum, no try again, no manifest. What a fetch takes beyond
this and SHA-256 is its own.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

PART_BYTES = 8 * 1024**2
THREADS = 4
_Part = tuple[str, str, int, int]


def _connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc)


def _ask(url: str, method: str, path: str) -> http.client.HTTPResponse:
    connection = _connect(url)
    connection.request(method, path)
    return connection.getresponse()


def _parts(hub: str, repository: str, revision: str) -> Iterator[_Part]:
    """Yield each shard's parts: its path, its signed address, offset and size."""
    for file in json.loads(_ask(hub, "GET", f"/api/models/{repository}/tree/{revision}").read()):
        path, size = str(file["path"]), int(file["size"])
        address = _ask(hub, "HEAD", f"/{repository}/resolve/{revision}/{path}").headers["location"]
        if address:  # what is not in LFS is next to nothing
            for offset in range(0, size, PART_BYTES):
                yield path, address, offset, min(PART_BYTES, size - offset)


def _move(parts: Iterator[_Part], lock: threading.Lock, s3: str, bucket: str) -> None:
    memory = memoryview(bytearray(PART_BYTES))
    source: http.client.HTTPConnection | None = None
    sink = _connect(s3)
    while True:
        with lock:
            part = next(parts, None)
        if part is None:
            return
        path, address, offset, size = part
        source = source or _connect(address)
        target = urlsplit(address)
        source.request("GET", f"{target.path}?{target.query}", headers={"Range": f"bytes={offset}-{offset + size - 1}"})
        response = source.getresponse()
        received = 0
        while received < size:
            received += response.readinto(memory[received:size])
        response.read()
        sink.request("PUT", f"/{bucket}/bare/{path}/{offset}", memory[:size])
        sink.getresponse().read()


def main() -> None:
    """Move it all."""
    repository, revision, bucket = sys.argv[1:]
    parts, lock = _parts(os.environ["HF_ENDPOINT"], repository, revision), threading.Lock()
    arguments = (parts, lock, os.environ["AWS_ENDPOINT_URL"], bucket)
    threads = [threading.Thread(target=_move, args=arguments) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
