"""The load profiles that a model file may ask for, one class a kind. Add a kind: a class here, a generator in steps/evaluate_staging."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from config.base import Strict


class Objective(Strict):
    """A bound that one metric of one load profile must keep: `at_most` or `at_least`, exactly one of them."""

    at_most: float | None = None
    """The metric must not exceed this, in the unit of its name."""
    at_least: float | None = None
    """The metric must not fall below this, in the unit of its name."""

    def model_post_init(self, _context: object) -> None:
        """Refuse an objective without a bound, or with two."""
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("an objective needs exactly one bound: at_most or at_least")

    @property
    def bound(self) -> float:
        """The bound itself."""
        bound = self.at_most if self.at_most is not None else self.at_least
        assert bound is not None  # noqa: S101  (held by model_post_init)
        return bound

    def met_by(self, value: float | None) -> bool:
        """Whether `value` keeps the bound; a value that could not be measured (None) never does."""
        if value is None:
            return False
        return value <= self.bound if self.at_most is not None else value >= self.bound


_LATENCIES = [f"{name}_p{p}_ms" for name in ("ttft", "itl", "tpot", "e2e") for p in ("50", "90", "95", "99", "999")]
METRICS = (
    *_LATENCIES,
    "error_rate",
    "requests_per_s",
    "output_tokens_per_s",
    "total_tokens_per_s",
    "goodput_per_s",
)
"""Every name that an objective may have: latencies as NAME_pPERCENTILE_ms (p999 is the 99.9th), rates per second, shares from 0 to 1."""


class _Profile(Strict):
    """What all load profiles share."""

    prompt_tokens: int = Field(default=256, ge=1)
    """How long each prompt is, in tokens of the model."""
    output_tokens: int = Field(default=128, ge=1)
    """How many tokens each answer may have."""
    warmup_s: float = Field(default=5.0, ge=0)
    """Load before the measurement starts; its requests are not counted. Seconds."""
    timeout_s: float = Field(default=60.0, gt=0)
    """A request without an answer after this long is an error. Seconds; SageMaker itself cuts a request at 60 s."""
    objectives: dict[str, Objective] = Field(min_length=1)
    """Metric → bound. The gate passes only if every one is met."""


class ClosedLoop(_Profile):
    """A fixed number of clients; each sends its next request when its last answer is complete."""

    kind: Literal["closed_loop"]
    concurrency: int = Field(ge=1)
    """How many clients."""
    duration_s: float = Field(gt=0)
    """How long is measured, after the warm-up. Seconds."""


LoadProfile = ClosedLoop
"""Every kind of load profile; more than one becomes a union discriminated by `kind`."""
