"""What the checks of all formats share: bytes come in pieces, and the header is read once enough of it is there."""

from __future__ import annotations

from abc import ABC, abstractmethod

from delivery.errors import InputError

_MAX_HEADER_BYTES = 256 * 1024**2
"""No header is kept beyond this: a vocabulary of a million tokens takes some 20 MB."""
_KNOWN_BEGINNINGS = {
    b"PK\x03\x04": "a zip archive, as PyTorch's pickles are",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"\x89HDF": "HDF5",
    b"GGUF": "GGUF",
    b"version ": "a Git LFS pointer: the repository's upload was never completed",
    b"<!DOCTYP": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML document",
}


class HeaderCheck(ABC):
    """The check of one file's header. A subclass parses; this one collects the bytes."""

    format_name: str

    def __init__(self, path: str, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.is_done = False
        self._header = bytearray()
        self._needed_bytes = min(self.first_bytes, size_bytes)

    @property
    @abstractmethod
    def first_bytes(self) -> int:
        """How many bytes are needed before anything can be said."""

    @abstractmethod
    def parse(self, header: memoryview) -> int:
        """Check what is there of the header.

        Returns:
            How many bytes of the file are needed to say more; no more than are there when the header is complete and right.

        Raises:
            InputError: The header cannot be right.
        """

    def update(self, piece: bytes | memoryview) -> None:
        """Take the file's next bytes.

        Raises:
            InputError: The header cannot be right; the message names the file, what was found and what was expected.
        """
        rest = memoryview(piece)
        while rest and not self.is_done:
            missing = self._needed_bytes - len(self._header)
            self._header += rest[:missing]
            rest = rest[missing:]
            if len(self._header) == self._needed_bytes:
                self._advance()

    def finish(self) -> None:
        """Take the end of the file.

        Raises:
            InputError: The file ended inside its header.
        """
        if not self.is_done:
            raise self.refusal("it ends inside its header")

    def refusal(self, found: str) -> InputError:
        """Return the error that refuses the file."""
        begins = next((what for begin, what in _KNOWN_BEGINNINGS.items() if self._header.startswith(begin)), "")
        is_other = begins and begins != self.format_name
        return InputError(
            f"{self.path} is not a {self.format_name} file that can be loaded: {f'it is {begins}' if is_other else found} "
            f"(the file has {self.size_bytes:,} bytes); nothing of it was stored. Choose another revision, or leave the file out with "
            "weights.exclude",
            key="weights.revision",
        )

    def _advance(self) -> None:
        with memoryview(self._header) as view:
            needed = self.parse(view)
        if needed <= self._needed_bytes:
            self.is_done = True
            self._header.clear()
        elif needed > self.size_bytes:
            raise self.refusal(f"its header would have {needed:,} bytes or more")
        elif needed > _MAX_HEADER_BYTES:
            raise self.refusal(
                f"its header would have {needed:,} bytes or more, and {_MAX_HEADER_BYTES:,} are the most that is read"
            )
        else:
            self._needed_bytes = needed
