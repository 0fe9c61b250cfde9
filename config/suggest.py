"""What a person probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like `word`; `known` must not be empty."""
    words = list(known)
    return max(words, key=lambda candidate: difflib.SequenceMatcher(None, word, candidate).ratio())
