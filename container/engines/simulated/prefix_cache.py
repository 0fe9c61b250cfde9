"""The simulated engine's prefix cache: what RadixAttention would take from earlier requests instead of computing it again."""

from __future__ import annotations

import collections
from collections.abc import Sequence

__all__ = ["PrefixCache"]


class PrefixCache:
    """Beginnings of texts, a token at a time, as long as there is room: the longest unused go first, from their ends."""

    def __init__(self, tokens: int) -> None:
        """`tokens` is how many it has room for; 0: it keeps nothing."""
        self._room = tokens
        self._kept: collections.OrderedDict[int, None] = collections.OrderedDict()

    def match(self, words: Sequence[str]) -> int:
        """Return how many tokens of a prompt are there already; never all of them: the last is computed, to go on from it."""
        if not self._kept:
            return 0
        found = 0
        for key in _prefixes(words[:-1]):
            if key not in self._kept:
                break
            found += 1
        return found

    def keep(self, words: Sequence[str]) -> None:
        """Keep a text and all its beginnings; each is as fresh as the text."""
        if not self._room:
            return
        for key in reversed(list(_prefixes(words))):  # a beginning goes later than what goes on from it
            self._kept[key] = None
            self._kept.move_to_end(key)
        while len(self._kept) > self._room:
            self._kept.popitem(last=False)


def _prefixes(words: Sequence[str]) -> list[int]:
    """Return a key for each beginning of a text, the shortest first."""
    keys, key = [], 0
    for word in words:
        key = hash((key, word))
        keys.append(key)
    return keys
