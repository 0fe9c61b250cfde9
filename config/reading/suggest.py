"""What a person probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_ALIKE = 0.5
"""Of SequenceMatcher's 0 to 1: `qwen3` and `qwen3-32b` are 0.71 alike, `none` and `qwen3-32b` 0.31."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like `word`; `known` must not be empty."""
    words = list(known)
    return max(words, key=lambda candidate: _likeness(word, candidate))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'? ` for the known word most like `word`; empty when none is much like it: a far-off guess misleads."""
    words = list(known)
    close = nearest(word, words) if words else ""
    return f"did you mean {close!r}? " if _likeness(word, close) >= _ALIKE else ""


def _likeness(word: str, candidate: str) -> float:
    return difflib.SequenceMatcher(None, word, candidate).ratio()
