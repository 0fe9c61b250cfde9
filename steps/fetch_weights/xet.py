"""Bytes out of Xet storage by `hf_xet`, for files that the Hub keeps there, where the model file asks for it (`weights.xet`).

Without it they come over HTTP like all others: for who does not speak Xet the Hub's address of such a file leads to a bridge that puts it
together ("Backward Compatibility with LFS" in the Hub's documentation). That is the default although huggingface_hub brings hf_xet along:
hf_xet keeps gigabytes of buffers of its own, whatever `weights.memory_bytes` says (`HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_LIMIT`: 8 GB),
and a download of it may stall without an error (huggingface/xet-core issues 850, 869 and 883), where HTTP has timeouts. The digests are
compared either way.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import threading
from typing import Any

from delivery.errors import TransientError
from delivery.hub.hub_source import CountBytes, FilePart, HubRevision, HubSource
from delivery.hub.range_client import public
from delivery.hub.retries import Stopped

logger = logging.getLogger(__name__)


def is_installed() -> bool:
    """Tell whether hf_xet can be imported."""
    return importlib.util.find_spec("hf_xet") is not None


class XetSource:
    """Reads what is in Xet storage from there and everything else, and all after Xet has failed once, through `http`."""

    def __init__(self, hub: HubRevision, http: HubSource, stop: threading.Event) -> None:
        self._hub = hub
        self._http = http
        self._stop = stop
        self._lock = threading.Lock()
        self._group: Any = None
        self._is_off = False

    def read(self, part: FilePart, view: memoryview, count_bytes: CountBytes = lambda _: None) -> None:
        """Fill `view` with the part's bytes, and count them when all are there. Errors as in `HubSource.read`."""
        if part.file.xet_hash is None or self._is_off or not part.size:
            self._http.read(part, view, count_bytes)
            return
        try:
            self._stream(part, view)
            count_bytes(part.size)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  (hf_xet's errors share no base; whatever it was, HTTP has the same bytes)
            with self._lock:
                first, self._is_off = not self._is_off, True
            if first:
                logger.warning(f"Xet storage did not give {part.file.path} ({type(error).__name__}: {error}); going on over HTTP")
            self._http.read(part, view, count_bytes)

    def _stream(self, part: FilePart, view: memoryview) -> None:
        info = _hf_xet().XetFileInfo(part.file.xet_hash, part.file.size)
        filled = 0
        for chunk in self._connect().download_stream(info, start=part.offset, end=part.offset + part.size):
            if self._stop.is_set():
                raise Stopped
            if filled + len(chunk) > part.size:
                raise TransientError(f"more than the {part.size:,} bytes that were asked for")
            view[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        if filled < part.size:
            raise TransientError(f"{filled:,} of {part.size:,} bytes")

    def _connect(self) -> Any:
        """Connect to Xet storage, once, by whichever thread comes first; hf_xet renews its token by itself."""
        with self._lock:
            if self._group is None:
                url = self._hub.url("/api/models/{repository}/xet-read-token/{revision}")
                answer = self._http.range_client().ask("GET", url, self._hub.headers)
                if answer.status != 200:
                    raise TransientError(f"{public(url)} answered {answer.status}")
                self._group = (
                    _hf_xet()
                    .XetSession()
                    .new_download_stream_group(
                        endpoint=answer.headers["x-xet-cas-url"],
                        token=answer.headers["x-xet-access-token"],
                        token_expiry_unix_secs=int(answer.headers["x-xet-token-expiration"]),
                        token_refresh_url=url,
                        token_refresh_headers=self._hub.headers,
                    )
                )
            return self._group


def _hf_xet() -> Any:
    return importlib.import_module("hf_xet")  # no type hints are published
