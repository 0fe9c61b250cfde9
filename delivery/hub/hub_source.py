"""Ranges of bytes out of the Hub: signed addresses asked for once a file, renewed when refused, never given the token."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit

from delivery.errors import DeliveryError, InputError, TransientError
from delivery.hub.fetch_settings import FetchSettings
from delivery.hub.range_client import RangeClient, RangeResponse, ThreadRangeClient, public
from delivery.hub.retries import Retries, Stopped
from delivery.hub.selection import HubFile

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_REFUSED = frozenset({401, 403, 410})
CountBytes = Callable[[int], None]
"""Told how many bytes have come since it was told last."""


@dataclass(frozen=True)
class FilePart:
    """One range of one file, and one part of its upload."""

    file: HubFile
    number: int
    """From 1, as S3 counts."""
    offset: int
    size: int


@dataclass(frozen=True)
class HubRevision:
    """One repository at one revision on one Hub, and the token that opens it (None: anybody may read it)."""

    endpoint: str
    repository: str
    revision: str
    token: str | None = field(default=None, repr=False)  # it must reach no log and no error: hub_repository.read_token

    @property
    def headers(self) -> dict[str, str]:
        """What is sent to the Hub itself, and to nobody else."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def url(self, pattern: str) -> str:
        """Return an address on the Hub; `{repository}` and `{revision}` in `pattern` are filled in."""
        return self.endpoint.rstrip("/") + pattern.format(repository=self.repository, revision=self.revision)

    def refusal(self, code: str | None = None) -> str:
        """Return what to say when the Hub does not let us read: without a token it is needed, with one it lacks rights. `code`: X-Error-Code."""
        if self.token is None:
            return (
                f"{self} is gated{'' if code == 'GatedRepo' else ' or private'} and no token is set: accept its terms on the Hub, store a "
                "read token of that account in Secrets Manager and name the secret in the environment file: hub_token_secret"
            )
        return (
            f"{self} cannot be read with the token in hub_token_secret: accept the repository's terms on the Hub with the account that the "
            "token belongs to, and give the token read access to it"
        )

    def __str__(self) -> str:
        return f"{self.repository} at {self.revision} on {self.endpoint}"


@dataclass(frozen=True)
class SignedAddress:
    """Where a file's bytes are, and the headers that may be sent there."""

    url: str
    headers: dict[str, str]


class HubSource:
    """Bytes out of one repository. Safe to share between threads; connections are kept one set a thread."""

    def __init__(self, hub: HubRevision, settings: FetchSettings, stop: threading.Event) -> None:
        self._hub = hub
        self._stop = stop
        self._retries = Retries(settings, stop)
        self._addresses: dict[str, SignedAddress] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._clients = ThreadRangeClient(settings.connect_timeout_s, settings.read_timeout_s)

    def read(self, part: FilePart, view: memoryview, count_bytes: CountBytes = lambda _: None) -> None:
        """Fill `view` with the part's bytes: after a transient failure from where it stopped.

        Args:
            part: Which bytes of which file.
            view: Memory of the part's size.
            count_bytes: Told how many have come, a megabyte or so at a time, and less than none when they have to come again.

        Raises:
            DeliveryError: The Hub does not give them.
            InputError: The file may not be read.
            Stopped: The fetch has failed elsewhere.
        """
        received = 0

        def arrived(count: int) -> None:
            nonlocal received
            received += count
            count_bytes(count)
            if self._stop.is_set():
                raise Stopped

        def attempt() -> None:
            nonlocal received
            if received == part.size or part.size == part.file.size:  # too much arrived, or no range is asked for: from the start
                count_bytes(-received)
                received = 0
            address = self.address(part.file)
            self._range(part, address, view[received:], part.offset + received, arrived)
            if received < part.size:
                raise TransientError(f"{public(address.url)} stopped after {received:,} of {part.size:,} bytes")

        self._retries.call(f"read bytes {part.offset:,} to {part.offset + part.size:,} of {part.file.path}", attempt)

    def check(self, file: HubFile) -> None:
        """Ask for a file's address and nothing more: whether it may be read. Errors as in `read`."""
        self._retries.call(f"reach {file.path}", lambda: self.address(file))

    def address(self, file: HubFile) -> SignedAddress:
        """Return where the file's bytes are; asked once a file, by whichever thread comes first."""
        with self._lock:
            lock = self._locks.setdefault(file.path, threading.Lock())
        with lock:
            if file.path not in self._addresses:
                self._addresses[file.path] = self._resolve(file)
            return self._addresses[file.path]

    def range_client(self) -> RangeClient:
        """Return this thread's connections."""
        return self._clients.current

    def _range(
        self, part: FilePart, address: SignedAddress, view: memoryview, offset: int, arrived: Callable[[int], None]
    ) -> None:
        whole = len(view) == part.file.size  # asked for without a range: servers may generate small files on the fly
        wanted = f"bytes={offset}-{offset + len(view) - 1}"
        expected = 200 if whole else 206
        headers = address.headers if whole else {**address.headers, "Range": wanted}
        answer = self.range_client().read_into(address.url, headers, view, expected, arrived)
        if answer.status == expected:
            if not whole:
                _check_range(answer, address.url, offset, len(view), part.file)
            return
        if answer.status in _REFUSED and "Authorization" not in address.headers:
            self._forget(part.file, address)
            raise TransientError(
                f"the signed address {public(address.url)} answered {answer.status}: it may have expired; asking for another"
            )
        if transient := answer.transient_error(address.url):
            raise transient
        if answer.status == 200:
            raise DeliveryError(
                f"{public(address.url)} answered 200 to a request for {wanted}: a server or proxy between here and the Hub ignores Range; "
                "let the job reach the Hub and its CDN directly"
            )
        raise DeliveryError(f"{public(address.url)} answered {answer.status} {answer.excerpt}, expected {expected}")

    def _resolve(self, file: HubFile) -> SignedAddress:
        url = self._hub.url("/{repository}/resolve/{revision}/") + quote(file.path)
        headers = self._hub.headers
        for _ in range(_MOST_REDIRECTS):
            answer = self.range_client().ask("HEAD", url, headers)
            self._check_linked(file, answer)
            if answer.status in _REDIRECTS and "location" in answer.headers:
                target = urljoin(url, answer.headers["location"])
                if urlsplit(target)[:2] != urlsplit(url)[:2]:
                    return SignedAddress(target, {})  # another server: the token stays here
                url = target
            elif answer.status == 200:
                return SignedAddress(url, headers)
            elif transient := answer.transient_error(url):
                raise transient
            else:
                raise self._refusal(file, answer)
        raise DeliveryError(f"{public(url)}: more than {_MOST_REDIRECTS} redirects")

    def _check_linked(self, file: HubFile, answer: RangeResponse) -> None:
        linked = answer.headers.get("x-linked-etag", "").removeprefix("W/").strip('"')
        if file.sha256 and linked and linked != file.sha256:
            raise DeliveryError(
                f"{file.path} changed since it was listed: {self._hub} now says sha256 {linked}, its listing said {file.sha256}; a commit "
                "cannot change, so do not trust that server"
            )

    def _refusal(self, file: HubFile, answer: RangeResponse) -> DeliveryError:
        if answer.status in {401, 403}:
            return InputError(self._hub.refusal(answer.headers.get("x-error-code")))
        if answer.status == 404:
            return DeliveryError(
                f"{file.path} of {self._hub} is gone: it was listed, now the answer is 404; a commit cannot change, so do not trust that server"
            )
        return DeliveryError(f"{file.path} of {self._hub}: the Hub answered {answer.status} {answer.excerpt}")

    def _forget(self, file: HubFile, refused: SignedAddress) -> None:
        with self._lock:
            if self._addresses.get(file.path) == refused:
                del self._addresses[file.path]


def _check_range(answer: RangeResponse, url: str, offset: int, length: int, file: HubFile) -> None:
    expected = f"bytes {offset}-{offset + length - 1}/{file.size}"
    actual = answer.headers.get("content-range", "")
    if actual != expected:
        raise DeliveryError(
            f"{public(url)} sent Content-Range {actual!r}, expected {expected!r}: not the file that the Hub listed as {file.path}"
        )
