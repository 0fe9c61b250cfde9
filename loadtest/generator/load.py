"""What a load run is: a value that is sent to every client process, and the two ways to put a load on: closed loop and open loop.

An open loop keeps its schedule whatever the server does, and latencies count from when a request was due: there is no coordinated omission.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count as count_up
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol

from loadtest.client.chat_client import ChatRequest, LoadClient
from loadtest.generator.arrivals import PrefixBlocks, ScheduledRequest
from loadtest.generator.prompts import Prompt, RecordedPrompts, SyntheticPrompts, Tokenizer, conversations
from loadtest.lengths import Distribution, drawn, shares
from loadtest.measurement.request_record import RequestRecord
from loadtest.transports import Transport

COUNTED_EVERY = 20
"""One answer of so many has its tokens counted."""


@dataclass(frozen=True)
class Load:
    """One load run."""

    transport: Transport
    timeout_s: float
    prompt_tokens: int | Distribution
    output_tokens: int | Distribution
    warmup_s: float
    duration_s: float
    concurrency: int = 0
    """Closed loop: how many clients there are. 0: an open loop."""
    schedule: tuple[ScheduledRequest, ...] = ()
    """Open loop: what is sent when."""
    exact_output: bool = False
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """What is merged into the JSON of each request."""
    keep_text: bool = False
    """Whether results hold their answers' texts: memory, and time on the way back from the client processes."""
    shared_prefix: float = 0.0
    turns: int = 1
    seed: str = ""
    """What its prompts are made of: loads with another ask other prompts."""
    common_seed: str = ""
    """What the blocks of recorded prompts say, and how long requests are, the same in every process: loads with another ask other ones."""
    request_from: int = 0
    """Which of the load's requests is the first; from there on every `prompts_step`-th."""
    prompts_from: int = 0
    """Which recorded prompt, in the order in which all loads take them, is the first."""
    prompts_step: int = 1
    """From there on every n-th recorded prompt is asked: the others are other processes'."""
    tokenizer_file: Path | None = None
    prompts_file: Path | None = None

    def share(self, worker: int, workers: int) -> Load:
        """Return what one of `workers` processes does of it. All shares together are the load: the open loop's requests and the recorded prompts
        are dealt out in turn, and made prompts are other ones in each."""
        return replace(
            self,
            concurrency=self.concurrency // workers + (worker < self.concurrency % workers),
            schedule=self.schedule[worker::workers],
            seed=f"{self.seed}/{worker}",
            request_from=self.request_from + self.prompts_step * worker,
            prompts_from=self.prompts_from + self.prompts_step * worker,
            prompts_step=self.prompts_step * workers,
        )

    @property
    def window_s(self) -> tuple[float, float]:
        """From when to when it is measured, from its beginning. Seconds."""
        return self.warmup_s, self.warmup_s + self.duration_s


class PromptSource(Protocol):
    """Where prompts come from."""

    dealt_to: int
    """Where those that were asked end, of recorded ones."""
    repeated: int
    """How many of these were asked before."""

    def make(self, tokens: int, blocks: PrefixBlocks | None = None) -> Prompt:
        """Make the next prompt, of `tokens` tokens and these blocks where they can be chosen."""

    def answered(self, prompt: Prompt, text: str, tokens: int) -> None:
        """Take a prompt's answer, of `tokens` tokens; a chat may go on."""


def requests(load: Load) -> Iterator[ScheduledRequest]:
    """Yield what a load, or a share of it, asks, each with its lengths: as its schedule has them, or drawn.

    What is drawn depends on the load's seed and the request's number alone. A closed loop's clients take the next request each; there is no end of
    them.
    """
    planned = repeat(ScheduledRequest(0)) if load.concurrency else load.schedule
    for number, due in zip(count_up(load.request_from, load.prompts_step), planned, strict=False):
        of_prompt, of_answer = shares(load.common_seed, number)
        yield ScheduledRequest(
            due.at_s,
            due.prompt_tokens or drawn(load.prompt_tokens, of_prompt),
            due.output_tokens or drawn(load.output_tokens, of_answer),
            due.blocks,
        )


def tokenizer_of(load: Load) -> Tokenizer | None:
    """Return the model's tokenizer; None where the weights have none."""
    return Tokenizer(load.tokenizer_file.read_text(encoding="utf-8")) if load.tokenizer_file else None


def prompt_source(load: Load, tokenizer: Tokenizer | None) -> PromptSource:
    """Prepare the prompts of a load, or of a share of it. Everything is read here, so that nothing is read while the load is on."""
    if load.prompts_file:
        found = conversations(load.prompts_file.read_text(encoding="utf-8"), load.prompts_file.name)
        return RecordedPrompts(found, load.prompts_from, load.prompts_step, tokenizer)
    return SyntheticPrompts(
        load.seed, shared_prefix=load.shared_prefix, turns=load.turns, tokenizer=tokenizer, blocks_seed=load.common_seed
    )


async def run(
    load: Load,
    client: LoadClient,
    prompts: PromptSource,
    begin_ns: int,
    begun: Callable[[int], None],
    note: Callable[[RequestRecord], None],
) -> None:
    """Put the load on from `begin_ns` on (monotonic clock); returns when the last answer is complete.

    `begun` is called as each request's turn comes, with when that was due; from there on it is the network's and the endpoint's time.
    `note` gets every result.

    Where there is a tokenizer, one result in `COUNTED_EVERY` keeps its text, for `count` to look at when the load is over.
    """
    numbers = count_up()

    async def send(prompt: Prompt, due: ScheduledRequest, intended_ns: int) -> RequestRecord:
        begun(intended_ns)
        sampled = load.keep_text or (load.tokenizer_file is not None and next(numbers) % COUNTED_EVERY == 0)
        wanted = ChatRequest(
            prompt.messages,
            due.output_tokens,
            prompt.tokens,
            prompt.fresh_tokens,
            due.blocks is not None,
            load.exact_output,
            extra_body=load.extra_body,
            keep_text=sampled or load.turns > 1,
        )
        result = await client.send(wanted, intended_ns)
        if result.is_ok and result.text:
            thought_share = result.answer_at / len(result.token_ns)
            prompts.answered(prompt, result.text, round(result.output_tokens * (1 - thought_share)))
        if not sampled:
            result.text = result.thought = ""
        note(result)
        return result

    def make(due: ScheduledRequest) -> Prompt:
        return prompts.make(due.prompt_tokens, due.blocks)

    if load.concurrency:
        await _closed(load, make, send, begin_ns)
    else:
        await _open(load, make, send, begin_ns)


def count(load: Load, results: Iterable[RequestRecord], tokenizer: Tokenizer) -> None:
    """Count the tokens of the answers that kept their text: what the server says of them is not taken on trust."""
    for result in results:
        if result.written and result.is_ok:
            result.counted_tokens = tokenizer.count(result.thought) + tokenizer.count(result.text)
        if not load.keep_text:
            result.text = result.thought = ""


Make = Callable[[ScheduledRequest], Prompt]
Send = Callable[[Prompt, ScheduledRequest, int], Coroutine[Any, Any, RequestRecord]]


async def _closed(load: Load, make: Make, send: Send, begin_ns: int) -> None:
    """Run a closed loop: each client sends its next request when its last answer is complete."""
    end_ns, upcoming = begin_ns + int(load.window_s[1] * 1e9), requests(load)
    await _until(begin_ns)

    async def one_client() -> None:
        while (now := time.monotonic_ns()) < end_ns:
            due = next(upcoming)
            result = await send(make(due), due, now)
            if not result.is_ok:
                await asyncio.sleep(_AFTER_FAILURE_S)  # a server that refuses at once must not be asked in a busy loop

    async with asyncio.TaskGroup() as group:
        for _ in range(load.concurrency):
            group.create_task(one_client())


_AFTER_FAILURE_S = 0.1


async def _open(load: Load, make: Make, send: Send, begin_ns: int) -> None:
    """Run an open loop: every request is sent when it is due, however many are still unanswered: it keeps its schedule when the server does not."""
    upcoming, prepared = requests(load), deque[tuple[ScheduledRequest, Prompt]]()
    ahead = _PREPARED_AHEAD if _may_be_long(load) else 1

    def prepare() -> bool:
        due = next(upcoming, None)
        if due is not None:
            prepared.append((due, make(due)))
        return due is not None

    async with asyncio.TaskGroup() as group:
        while prepared or prepare():
            due, prompt = prepared[0]
            intended_ns = begin_ns + int(due.at_s * 1e9)
            while len(prepared) < ahead and _left_s(intended_ns) > _TIME_TO_PREPARE_S and prepare():
                await _until(0)  # what is under way goes on between two
            await _until(intended_ns)
            prepared.popleft()
            group.create_task(send(prompt, due, intended_ns))


_PREPARED_AHEAD = 64
"""Recorded prompts come in bursts, and may be of 100,000 tokens, which take 10 ms to make: as many are made before they are due. So are drawn ones,
but not those of chats, which go on with what was answered until they are due."""
_TIME_TO_PREPARE_S = 0.03


def _may_be_long(load: Load) -> bool:
    return any(due.blocks for due in load.schedule) or (load.turns == 1 and not isinstance(load.prompt_tokens, int))


def _left_s(moment_ns: int) -> float:
    return (moment_ns - time.monotonic_ns()) / 1e9


async def _until(moment_ns: int) -> None:
    """Sleep until a moment of the monotonic clock; where it is past, let what was begun go on."""
    await asyncio.sleep(max(0.0, _left_s(moment_ns)))
