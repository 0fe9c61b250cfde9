"""Prompts of about a given length that differ from one another, so that no prefix cache flatters the numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator

# Short English words that common tokenizers keep as one token each.
_WORDS = """
time year people way day man thing woman life child world school state family student group country problem hand part
place case week company system program question work government number night point home water room mother area money
story fact month lot right study book eye job word business issue side kind head house service friend father power hour
game line end member law car city community name president team minute idea body information back parent face others
level office door health person art war history party result change morning reason research girl guy moment air teacher
force education
""".split()  # noqa: SIM905  (a list of a hundred quoted words reads worse)
_CHAT_OVERHEAD_TOKENS = 12  # what a chat template adds around one short message, about


def synthetic(prompt_tokens: int, seed: int) -> Iterator[str]:
    """Endless prompts of about `prompt_tokens` tokens; the same ones for the same seed."""
    chosen = random.Random(seed)  # noqa: S311  (no secret)
    words = max(1, prompt_tokens - _CHAT_OVERHEAD_TOKENS)
    while True:
        yield f"Write a long story about: {' '.join(chosen.choices(_WORDS, k=max(1, words - 6)))}."
