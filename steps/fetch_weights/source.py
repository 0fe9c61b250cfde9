"""Ranges of bytes out of the Hub: signed addresses asked for once a file, renewed when refused, never given the token."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from steps.errors import InputError, StepError
from steps.fetch_weights.plan import Part
from steps.fetch_weights.retries import PassingError, Retries
from steps.fetch_weights.selection import HubFile
from steps.fetch_weights.settings import Settings
from steps.fetch_weights.wire import Answer, Wire, public

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_REFUSED = frozenset({401, 403, 410})


@dataclass(frozen=True)
class Address:
    """Where a file's bytes are, and the headers that may be sent there."""

    url: str
    headers: dict[str, str]


class HubSource:
    """One repository at one revision. Safe to share between threads; connections are kept one set a thread."""

    def __init__(
        self, endpoint: str, repository: str, revision: str, token: str | None, settings: Settings, stop: threading.Event
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._repository = repository
        self._revision = revision
        self._token = token
        self._settings = settings
        self._retries = Retries(settings, stop)
        self._addresses: dict[str, Address] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._threads = threading.local()

    def read(self, part: Part, view: memoryview) -> None:
        """Fill `view` with the part's bytes. StepError when the Hub does not give them."""
        received = 0

        def attempt() -> None:
            nonlocal received
            address = self.address(part.file)
            received += self._range(part, address, view[received:], part.offset + received)
            if received < part.size:
                raise PassingError(f"{public(address.url)} stopped after {received:,} of {part.size:,} bytes")

        self._retries.call(f"read {self._name(part)}", attempt)

    def check(self, file: HubFile) -> None:
        """Ask for a file's address and nothing more: whether it may be read. Errors as in `read`."""
        self._retries.call(f"reach {file.path}", lambda: self.address(file))

    def address(self, file: HubFile) -> Address:
        """Where the file's bytes are; asked once a file, by whichever thread comes first."""
        with self._lock:
            lock = self._locks.setdefault(file.path, threading.Lock())
        with lock:
            if file.path not in self._addresses:
                self._addresses[file.path] = self._resolve(file)
            return self._addresses[file.path]

    def _range(self, part: Part, address: Address, view: memoryview, offset: int) -> int:
        whole = part.size == part.file.size  # such a file is asked for without a range: servers may compress or generate it
        headers = dict(address.headers)
        if not whole or offset:
            headers["Range"] = f"bytes={offset}-{offset + len(view) - 1}"
        expected = 206 if "Range" in headers else 200
        answer, received = self._wire().read_into(address.url, headers, view, expected)
        if answer.status == expected:
            if expected == 206:
                _check_range(answer, address.url, offset, len(view), part.file)
            return received
        if answer.status in _REFUSED and "Authorization" not in address.headers:
            self._forget(part.file, address)
            raise PassingError(
                f"the signed address {public(address.url)} answered {answer.status}: it may have expired, asking for another"
            )
        if passing := answer.passing_error(address.url):
            raise passing
        if answer.status == 200:
            raise StepError(
                f"{public(address.url)} answered 200 to a request for bytes {offset}-{offset + len(view) - 1}: a server or proxy between here "
                "and the Hub ignores Range; let the job reach the Hub and its CDN directly"
            )
        raise StepError(f"{public(address.url)} answered {answer.status} {answer.excerpt}, expected {expected}")

    def _resolve(self, file: HubFile) -> Address:
        url = f"{self._endpoint}/{self._repository}/resolve/{self._revision}/{quote(file.path)}"
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        for _ in range(_MOST_REDIRECTS):
            answer = self._wire().ask("HEAD", url, headers)
            self._check_linked(file, answer)
            if answer.status in _REDIRECTS and "location" in answer.headers:
                target = urljoin(url, answer.headers["location"])
                if not _same_server(target, url):
                    return Address(target, {})
                url = target
            elif answer.status == 200:
                return Address(url, headers)
            elif passing := answer.passing_error(url):
                raise passing
            else:
                raise self._refusal(file, answer)
        raise StepError(f"{public(url)}: more than {_MOST_REDIRECTS} redirects")

    def _check_linked(self, file: HubFile, answer: Answer) -> None:
        linked = answer.headers.get("x-linked-etag", "").removeprefix("W/").strip('"')
        if file.sha256 and linked and linked != file.sha256:
            raise StepError(
                f"{file.path} changed since it was listed: the Hub now says sha256 {linked}, the listing of {self._repository} at "
                f"{self._revision} said {file.sha256}; a commit cannot change, so do not trust {self._endpoint}"
            )

    def _refusal(self, file: HubFile, answer: Answer) -> StepError:
        what = f"{file.path} of {self._repository} at {self._revision} on {self._endpoint}"
        if answer.status in {401, 403}:
            return InputError(
                refusal(self._repository, self._revision, self._endpoint, self._token, answer.headers.get("x-error-code"))
            )
        if answer.status == 404:
            return StepError(
                f"{what} is gone: it was listed, now the Hub answers 404; a commit cannot change, so do not trust that server"
            )
        return StepError(f"{what}: the Hub answered {answer.status} {answer.excerpt}")

    def _forget(self, file: HubFile, refused: Address) -> None:
        with self._lock:
            if self._addresses.get(file.path) == refused:
                del self._addresses[file.path]

    def _wire(self) -> Wire:
        wire: Wire | None = getattr(self._threads, "wire", None)
        if wire is None:
            wire = self._threads.wire = Wire(self._settings.connect_timeout_s, self._settings.read_timeout_s)
        return wire

    def _name(self, part: Part) -> str:
        return f"bytes {part.offset:,} to {part.offset + part.size:,} of {part.file.path}"


def refusal(repository: str, revision: str, endpoint: str, token: str | None, code: str | None) -> str:
    """What to say when the Hub does not let us read a repository: with a token it lacks rights, without one it is needed."""
    what = f"{repository} at {revision} on {endpoint}"
    if token is None:
        kind = "is gated or private" if code != "GatedRepo" else "is gated"
        return (
            f"{what} {kind} and no token is set: accept its terms on the Hub, store a read token of that account in Secrets Manager and name the "
            "secret in the environment file: hub_token_secret"
        )
    return (
        f"{what} cannot be read with the token in hub_token_secret: accept the repository's terms on the Hub with the account that the token "
        "belongs to, and give the token read access to it"
    )


def _check_range(answer: Answer, url: str, offset: int, length: int, file: HubFile) -> None:
    expected = f"bytes {offset}-{offset + length - 1}/{file.size}"
    actual = answer.headers.get("content-range", "")
    if actual != expected:
        raise StepError(
            f"{public(url)} sent Content-Range {actual!r}, expected {expected!r}: not the file that the Hub listed as {file.path}"
        )


def _same_server(one: str, other: str) -> bool:
    return urlsplit(one)[:2] == urlsplit(other)[:2]
