"""One request as the client saw it: every moment on the monotonic clock, in nanoseconds."""

from __future__ import annotations

import math
from array import array
from collections.abc import MutableSequence
from dataclasses import dataclass, field


def _moments() -> MutableSequence[int]:
    return array("q")


@dataclass(slots=True)
class RequestRecord:
    """What became of one request."""

    intended_ns: int
    """When it was due. Latencies count from here, so that a client or server that falls behind shows."""
    sent_ns: int = 0
    """When it was sent."""
    token_ns: MutableSequence[int] = field(default_factory=_moments)
    """When each piece of text arrived; one a token from every engine that streams token by token."""
    ended_ns: int = 0
    """When the answer was complete, or failed."""
    output_tokens: int = 0
    """The tokens that the server says it made; the pieces, where it says nothing."""
    prompt_tokens: int = 0
    """The tokens that the server says the prompt had; 0 where it says nothing."""
    error: str = ""
    """What kind of failure, empty for none."""
    message: str = ""
    """What the failure said."""
    finish_reason: str = ""
    """Why the server says that the answer ended."""
    asked_tokens: int = 0
    """How long its answer might be, or had to be."""
    planned_tokens: int = 0
    """How many tokens the prompt was made of; 0 where that is not known."""
    fresh_tokens: int = 0
    """How many of the prompt's tokens no other prompt is meant to have begun with; words, where the tokens are not known."""
    in_any_order: bool = False
    """Whether what is fresh in its prompt depends on which of several requests the server takes first: recorded prompts that begin alike."""
    counted_tokens: int = 0
    """The tokens that the answer's text has by the model's own tokenizer; 0 where it was not counted."""
    text: str = ""
    """The answer, where it was asked to be kept."""
    thought: str = ""
    """What a reasoning model wrote before it, likewise."""
    answer_at: int = 0
    """Which piece of text is the first of the answer: those before it are a thought. As many as there are where none is of the answer."""
    cached_tokens: int | None = None
    """How many of the prompt's tokens the server took from its prefix cache; None where it says nothing, as SGLang of none."""

    @property
    def is_ok(self) -> bool:
        """Whether the answer was complete."""
        return not self.error

    @property
    def ttft_ms(self) -> float:
        """Request due → first token, a thought's where the model thinks first."""
        return (self.token_ns[0] - self.intended_ns) / 1e6

    @property
    def ttfo_ms(self) -> float:
        """Request due → first token of the answer, behind any thought (aiperf's time to first output token); infinite where none came."""
        at = self.answer_at
        return (self.token_ns[at] - self.intended_ns) / 1e6 if at < len(self.token_ns) else math.inf

    @property
    def written(self) -> str:
        """All that was written, where it was asked to be kept: the thought and the answer."""
        return self.thought + self.text

    @property
    def e2e_ms(self) -> float:
        """Request due → answer complete."""
        return (self.ended_ns - self.intended_ns) / 1e6

    @property
    def gaps_ms(self) -> list[float]:
        """The inter-token latencies: each gap between two pieces of text, never their mean, which hides a stall."""
        moments = self.token_ns
        return [(moments[place] - moments[place - 1]) / 1e6 for place in range(1, len(moments))]

    @property
    def tpot_ms(self) -> float | None:
        """The time from the first piece to the last, for each token after the first (as SGLang's bench_serving has it); None for an answer in
        one piece. Where a piece is one token, the mean of the gaps; speculative decoding puts several into one."""
        if len(self.token_ns) < 2:
            return None
        return (self.token_ns[-1] - self.token_ns[0]) / 1e6 / (max(len(self.token_ns), self.output_tokens) - 1)
