"""`LocalHub`: a Hub in a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from local_hub import browsers
from local_hub.api import TREE_PAGE, RepositoryIndex
from local_hub.builtin import builtin_repositories
from local_hub.faults import FaultPlan
from local_hub.repository import Repository, cache_for, folder_repositories
from local_hub.server import HubServer, RequestRecord

__all__ = ["DEFAULT_TOKEN", "LocalHub", "repositories"]

DEFAULT_TOKEN = "hf_local"  # noqa: S105 - opens gated repositories of a Hub on loopback, nothing else


def repositories(root: Path | None, *, builtin: bool = True) -> dict[str, Repository]:
    """Return what a Hub on `root` has: the built-in repository and every `root/ORG/NAME/` (which wins over it)."""
    cache = cache_for(root)
    found = builtin_repositories(cache) if builtin else {}
    return found | (folder_repositories(root, cache) if root is not None else {})


class LocalHub:
    """A Hugging Face Hub on loopback, as a context manager.

        with LocalHub(root=folder, gated=["acme/secret"]) as hub:
            HfApi(endpoint=hub.endpoint).model_info("acme/model")

    `root` holds repositories as `ORG/NAME/`; one that is put there later is found when it is asked for. `gated` and
    `private` add to what their `.hub.json` says. `tokens` open
    those. `rate_bytes_per_s` caps all transfers together; `address_lifetime_s` is how long a signed address is good;
    `allowed_hosts` are names that clients call it by, besides loopback's; `ignores_unknown_tokens` takes a token that is not one of
    `tokens` for none, where huggingface.co refuses it.
    `faults` plans faults (see `local_hub.faults`), and `requests` is every request so far.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        port: int = 0,
        builtin: bool = True,
        gated: Iterable[str] = (),
        private: Iterable[str] = (),
        tokens: Iterable[str] = (DEFAULT_TOKEN,),
        rate_bytes_per_s: float | None = None,
        address_lifetime_s: float = 3600,
        tree_page: int = TREE_PAGE,
        allowed_hosts: Iterable[str] = (),
        ignores_unknown_tokens: bool = False,
    ) -> None:
        self._repositories = repositories(root, builtin=builtin)
        for identifier in gated:
            self._repositories[identifier].gated = True
        for identifier in private:
            self._repositories[identifier].private = True
        cache = cache_for(root)
        hub = RepositoryIndex(self._repositories, tree_page, lambda: folder_repositories(root, cache) if root is not None else {})
        hosts = browsers.LOOPBACK | {name.lower() for name in allowed_hosts}
        self._server = HubServer(hub, port, frozenset(tokens), address_lifetime_s, hosts)
        self._server.ignores_unknown_tokens = ignores_unknown_tokens
        self._server.rate.bytes_per_s = rate_bytes_per_s
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="local_hub", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port

    @property
    def endpoint(self) -> str:
        """The value for `HF_ENDPOINT`."""
        return f"http://localhost:{self.port}"

    @property
    def faults(self) -> FaultPlan:
        """The faults still to come."""
        return self._server.faults

    @property
    def requests(self) -> list[RequestRecord]:
        """The last requests (`local_hub.server.KEPT_REQUESTS`), oldest first."""
        return list(self._server.requests)

    def revision(self, identifier: str) -> str:
        """Return the revision (40 hex digits) that `main` of a repository is now. Raises `KeyError` for an unknown one."""
        return self._repositories[identifier].snapshot().revision

    def set_rate(self, bytes_per_s: float | None) -> None:
        """Cap all transfers together from now on; None lifts the cap."""
        self._server.rate.bytes_per_s = bytes_per_s

    def start(self) -> LocalHub:
        """Begin to serve, and return self."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving; transfers under way are cut."""
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self) -> None:
        """Serve on the calling thread until `shutdown` is called from another."""
        self._server.serve_forever(0.2)

    def shutdown(self) -> None:
        """Make `serve_forever` return."""
        self._server.shutdown()

    def __enter__(self) -> LocalHub:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
