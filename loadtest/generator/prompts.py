"""What is asked under load: prompts of a given length that differ from one another, so that no prefix cache flatters the numbers.

Each prompt says how much of it is fresh, that is, begins no other prompt by intention. A server that finds more than the rest in its cache was
asked the same before.
"""

from __future__ import annotations

import json
import random
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, pairwise
from typing import Any

from tokenizers import Tokenizer as HuggingFaceTokenizer

from loadtest.errors import InvalidInput
from loadtest.generator.arrivals import PrefixBlocks

# Short English words that common tokenizers keep as one token each.
_WORDS = (  # noqa: SIM905  (a list of literals would be a page long)
    "time year people way day man thing woman life child world school state family student group country problem hand part place case "
    "week company system program question work government number night point home water room mother area money story fact month lot "
    "right study book eye job word business issue side kind head house service friend father power hour game line end member law car "
    "city community name president team minute idea body information back parent face others level office door health person art war "
    "history party result change morning reason research girl guy moment air teacher force education"
).split(" ")
_CHAT_OVERHEAD_TOKENS = 12  # what a chat template adds around one short message, about
_TASK = "Write a long story about:"
_SHORT = "a"
"""Where a prompt is too short for that."""
_SYSTEM = "Remember:"
_FEWEST_WORDS = 20  # with fewer, prompts would hardly differ

_BLOCKS_KEPT = 4096
"""How many blocks of recorded prompts a process keeps the words of: some 3 kB each."""
_ORDER = "recorded"
"""The seed of the order of recorded prompts: one for all, so that what was asked is known by its place."""

Messages = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Prompt:
    """What one request says."""

    messages: Messages
    """OpenAI chat messages."""
    tokens: int
    """How many tokens the texts have by the model's tokenizer; 0 where there is none."""
    turn: int = 1
    """Which message of the user it ends with."""
    fresh_tokens: int = 0
    """How many of its tokens no other prompt is meant to have begun with; words, where there is no tokenizer."""


class Tokenizer:
    """The model's own tokenizer, from the tokenizer.json beside its weights."""

    def __init__(self, serialized: str) -> None:
        """Read a tokenizer; `serialized` is the content of tokenizer.json. InvalidInput when it is none."""
        try:
            self._tokenizer: Any = HuggingFaceTokenizer.from_str(serialized)
        except Exception as error:
            raise InvalidInput(f"the weights' tokenizer.json cannot be read: {error}") from error

    def count(self, text: str) -> int:
        """How many tokens the text has, without special ones."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


class SyntheticPrompts:
    """Random words: exactly as many tokens as asked for, by the model's tokenizer; about as many without one.

    Words that the tokenizer keeps as one token each add up, so a prompt costs microseconds and is not tokenized while load is on.
    """

    dealt_to = repeated = 0  # there is no end of them

    def __init__(
        self, seed: str, *, shared_prefix: float = 0.0, turns: int = 1, tokenizer: Tokenizer | None = None, blocks_seed: str = ""
    ) -> None:
        """`shared_prefix` is the share of each prompt that is the same in all; with another `seed` the rest is another, with another
        `blocks_seed` what the blocks of recorded prompts say."""
        self._random = random.Random(seed)  # noqa: S311  (must repeat, not be secret)
        self._shared, self._turns = shared_prefix, turns
        self._words = [word for word in _WORDS if tokenizer is None or tokenizer.count(f"a {word}") - tokenizer.count("a") == 1]
        self.exact = tokenizer is not None and len(self._words) >= _FEWEST_WORDS
        self._words = self._words if self.exact else _WORDS
        self._leads = {
            lead: tokenizer.count(lead) if tokenizer and self.exact else len(lead.split()) for lead in (_TASK, _SHORT, _SYSTEM)
        }
        self._overhead = 0 if self.exact else _CHAT_OVERHEAD_TOKENS
        self._prefix: list[str] = []
        self._of_prefix = random.Random(_SYSTEM)  # noqa: S311
        self._answered: deque[Prompt] = deque()
        self._block = lru_cache(_BLOCKS_KEPT)(lambda number, words: self._words_of(f"{blocks_seed}/{number}", words))

    def make(self, tokens: int, blocks: PrefixBlocks | None = None) -> Prompt:
        """Make a prompt of `tokens` tokens: of the blocks that were recorded; else the first of a chat, or the next turn, with all before it, of
        the chat that was answered first."""
        if blocks is not None:
            return self._of_blocks(tokens, blocks)
        shared = int(tokens * self._shared)
        lead, fresh = self._led(tokens - shared)
        user = {"role": "user", "content": self._text(lead, fresh, self._random)}
        if self._answered:
            chat = self._answered.popleft()
            return Prompt((*chat.messages, user), chat.tokens + tokens - shared if self.exact else 0, chat.turn + 1, fresh)
        return Prompt((*self._system(shared), user), tokens if self.exact else 0, fresh_tokens=fresh)

    def answered(self, prompt: Prompt, text: str, tokens: int) -> None:
        """Take a prompt's answer, of `tokens` tokens. A chat goes on from there, as a user's does: with the model's own words,
        so that a prefix cache is of use where it would be."""
        if prompt.turn < self._turns:
            answer = {"role": "assistant", "content": text}
            self._answered.append(Prompt((*prompt.messages, answer), prompt.tokens + tokens if self.exact else 0, prompt.turn))

    def _of_blocks(self, tokens: int, blocks: PrefixBlocks) -> Prompt:
        """Make a prompt whose beginning is that of every prompt whose blocks begin alike."""
        lead, length = self._led(tokens)
        each = min(blocks.tokens_each, length)
        words = [word for number in blocks.ids for word in self._block(number, each)]
        words += self._random.choices(self._words, k=max(0, length - len(words)))  # where the last, cut short, has no id
        user = {"role": "user", "content": " ".join([lead, *words[:length]])}
        fresh = max(0, length - blocks.known * blocks.tokens_each)
        return Prompt((user,), tokens if self.exact else 0, self._turns, fresh)

    def _led(self, tokens: int) -> tuple[str, int]:
        """Return what a message of so many tokens begins with, and how many words follow."""
        lead = _TASK if tokens - self._overhead > self._leads[_TASK] else _SHORT
        return lead, max(0, tokens - self._overhead - self._leads[lead])

    def _words_of(self, seed: str, words: int) -> list[str]:
        return random.Random(seed).choices(self._words, k=words)  # noqa: S311

    def _system(self, tokens: int) -> list[dict[str, str]]:
        """Return what every prompt of this length begins with, and the longer ones: the same in every process."""
        if not tokens:
            return []
        words = max(1, tokens - self._leads[_SYSTEM])
        self._prefix += self._of_prefix.choices(self._words, k=max(0, words - len(self._prefix)))
        return [{"role": "system", "content": " ".join([_SYSTEM, *self._prefix[:words]])}]

    def _text(self, lead: str, words: int, source: random.Random) -> str:
        return " ".join([lead, *source.choices(self._words, k=words)])


def conversations(lines: str, where: str) -> list[Messages]:
    """Read the conversations of a JSON-lines file, up to their last message of the user. InvalidInput names `where` and the line.

    A line is {"prompt": …}, {"messages": […]}, or ShareGPT's {"conversations": [{"from": "human", "value": …}, …]}.
    """
    found = []
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        try:
            messages = _messages(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(f"{where}, line {number}: not a conversation: {type(error).__name__}: {error}") from error
        while messages and messages[-1]["role"] != "user":
            messages.pop()
        if messages:
            found.append(tuple(messages))
    if not found:
        raise InvalidInput(f"{where} has no conversation with a message of the user")
    return found


_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def _messages(line: dict[str, Any]) -> list[dict[str, str]]:
    if "prompt" in line:
        return [{"role": "user", "content": str(line["prompt"])}]
    if "messages" in line:
        return [{"role": _ROLES[message["role"]], "content": str(message["content"])} for message in line["messages"]]
    return [{"role": _ROLES[turn["from"]], "content": str(turn["value"])} for turn in line["conversations"]]


class RecordedPrompts:
    """Conversations of a file, in one order of chance for all: each process and each load takes others of them, until there are no more."""

    def __init__(self, found: list[Messages], first: int = 0, step: int = 1, tokenizer: Tokenizer | None = None) -> None:
        """Take each `step`-th from the `first` on; beyond the last, from the beginning again."""
        self._order = random.Random(_ORDER).sample(range(len(found)), len(found))  # noqa: S311
        self._found, self._places, self._tokenizer = found, count(first, step), tokenizer
        self._fresh = _fresh_shares(found)
        self.dealt_to = self.repeated = 0

    def make(self, _tokens: int, _blocks: PrefixBlocks | None = None) -> Prompt:
        """Return the next conversation; its length is its own."""
        place = next(self._places)
        self.dealt_to = place + 1
        self.repeated += place >= len(self._order)
        number = self._order[place % len(self._order)]
        messages = self._found[number]
        counted = sum(self._tokenizer.count(message["content"]) for message in messages) if self._tokenizer else 0
        length = counted or sum(len(message["content"].split()) for message in messages)
        return Prompt(messages, counted, fresh_tokens=int(length * self._fresh[number]))

    def answered(self, prompt: Prompt, text: str, tokens: int) -> None:
        """Nothing: a recorded conversation goes on as it was recorded."""


def _fresh_shares(found: list[Messages]) -> list[float]:
    """Return which share of each conversation begins no other one of the file: a system prompt of all, or the same conversation twice, is meant."""
    texts = ["\n".join(message["content"] for message in messages) for messages in found]
    order = sorted(range(len(texts)), key=texts.__getitem__)  # those that begin alike are neighbours
    shared = [0] * len(texts)
    for one, other in pairwise(order):
        common = _common_length(texts[one], texts[other])
        shared[one], shared[other] = max(shared[one], common), max(shared[other], common)
    return [1 - alike / max(1, len(text)) for alike, text in zip(shared, texts, strict=True)]


def _common_length(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least
