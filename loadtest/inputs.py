"""The files that a load is made of: the model's tokenizer, recorded prompts, traces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.errors import InvalidInput
from loadtest.generator.prompts import Tokenizer, conversations
from loadtest.profiles import LoadProfile, Replay
from loadtest.traces.reading import ReplayedPart, ReplayedTrace, read

_FILLED = 0.9
"""A trace that ends earlier, as a share of the time that is measured, is too short for it."""


@dataclass
class LoadInputs:
    """The files that loads are made of, each read once and kept in a folder."""

    read: Callable[[str], bytes | None]
    """Gives the content at an address (an S3 URI, a path); None where nothing is there."""
    folder: Path
    """Where files are kept while they are needed; whoever made it removes it."""
    tokenizer_address: str | None = None
    """Where the model's tokenizer.json is."""
    _found: dict[str, Path | None] = field(default_factory=dict)
    _replayed: dict[tuple[str, ReplayedPart], ReplayedTrace] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Path | None:
        """The model's tokenizer.json; None where the weights have none (GGUF keeps it inside)."""
        return self._file(self.tokenizer_address) if self.tokenizer_address else None

    def required(self, uri: str) -> Path:
        """Return the file that a load profile names.

        Raises:
            InvalidInput: it is not there.
        """
        found = self._file(uri)
        if found is None:
            raise InvalidInput(f"{uri} is not there; the load profile names it: put the file there, or correct the address")
        return found

    def check(self, profiles: Iterable[LoadProfile]) -> None:
        """Fetch and read what load profiles are made of, before an endpoint is paid for.

        Raises:
            InvalidInput: a file is not there, or is not what the profile takes it for.
        """
        tokenizer = self.tokenizer
        if tokenizer is not None:
            Tokenizer(tokenizer.read_text(encoding="utf-8"))
        for profile in profiles:
            if profile.prompts:
                conversations(self.required(profile.prompts).read_text(encoding="utf-8"), profile.prompts)
            if isinstance(profile, Replay):
                if profile.prompts and any(due.blocks for due in self.replayed(profile).schedule):
                    raise InvalidInput(
                        f"{profile.trace} has hash_ids, which say how prompts begin, and prompts names {profile.prompts}: leave prompts out"
                    )
                wanted_s, has_s = profile.warmup_s + profile.duration_s, self.replayed(profile).ends_s
                if has_s < _FILLED * wanted_s:
                    begins = f" that begins at {profile.start_s:g} s" if profile.start_s else ""
                    raise InvalidInput(
                        f"{profile.trace}{begins} ends after {has_s:.0f} s at {profile.speed:g} times its speed, and warmup_s and duration_s "
                        f"are {wanted_s:.0f} s together: what is measured would be idle for the rest; shorten duration_s"
                    )

    def replayed(self, profile: Replay) -> ReplayedTrace:
        """Return what a profile replays of its trace, which is read once.

        Raises:
            InvalidInput: it is not there, or no trace, or has nothing where the profile begins.
        """
        lasts_s = profile.warmup_s + profile.duration_s
        part = ReplayedPart(profile.start_s, lasts_s, profile.speed, profile.timestamp_unit, profile.block_tokens)
        key = profile.trace, part
        if key not in self._replayed:
            self._replayed[key] = read(self.required(profile.trace), part, profile.trace)
        return self._replayed[key]

    def _file(self, uri: str) -> Path | None:
        if uri not in self._found:
            body = self.read(uri)
            path = self.folder / f"{len(self._found)}-{uri.rsplit('/', 1)[-1]}"
            if body is not None:
                path.write_bytes(body)
            self._found[uri] = path if body is not None else None
        return self._found[uri]
