"""The section `evaluation` of a model file: what staging must show before a version may reach production."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from config.base import Strict, Written
from config.errors import MisplacedValue
from config.instances import check_each
from config.reading.suggest import did_you_mean
from loadtest import interleaving
from loadtest.profiles import METRICS, S3_ADDRESS, ClosedLoop, LoadProfile, Objective, OpenLoop

_TASK_NAME = Written(r"^[A-Za-z][A-Za-z0-9_]*$", "the name of a task of lm-eval: letters, digits and _, as in gsm8k")
_ARCHIVE = Written(r"^s3://[^/]+/.+\.zip$", "the S3 address of a zip, as in s3://BUCKET/load/tasks.zip")
_PROFILE_NAME = Written(r"^[a-z][a-z0-9_]*$", "lower-case letters, digits and _, beginning with a letter, as in long_chat")


class PromptCheck(Strict):
    """A prompt whose answer is known."""

    prompt: str = Field(min_length=1)
    """What is asked, greedily (temperature 0)."""
    expect: str = Field(min_length=1)
    """What the answer must contain, ignoring case."""
    max_tokens: int = Field(default=48, ge=1)
    """How many tokens the answer may have."""


class LmEvalTask(Objective):
    """A task of lm-eval (EleutherAI's harness) and the bound that its score must keep; see the keys of an objective for the bounds."""

    metric: str = "exact_match"
    """Which of its metrics counts, by lm-eval's name."""
    filter: str = "none"
    """After which of its filters, as in strict-match for gsm8k."""
    examples: int | None = Field(default=None, ge=1)
    """How many of its questions are asked; None: all."""
    fewshot: int | None = Field(default=None, ge=0)
    """How many solved examples stand before each question; None: as many as the task says."""
    max_tokens: int | None = Field(default=None, ge=1)
    """How long an answer may be; None: as the task says. Tokens."""

    @property
    def key(self) -> str:
        """The metric in lm-eval's results."""
        return f"{self.metric},{self.filter}"

    @property
    def error_key(self) -> str:
        """Its standard error there."""
        return f"{self.metric}_stderr,{self.filter}"


class LmEval(Strict):
    """Tasks of lm-eval against the staging endpoint's chat API, after the load. Needs the group `lm-eval` in the image of the steps."""

    tasks: dict[Annotated[str, _TASK_NAME], LmEvalTask] = Field(min_length=1)
    """Task name → bound. Only tasks that generate can be asked of a chat API (gsm8k, ifeval, mmlu_pro, …)."""
    archive: Annotated[str, _ARCHIVE] | None = None
    """S3 address of a zip of tasks of your own: their YAML files and, named relative to these, their data. For a job without a way to the
    Hub. The role of the evaluation reads the project's bucket below load/."""
    concurrency: int = Field(default=16, ge=1)
    """How many questions are asked at the same time."""
    timeout_s: float = Field(default=60.0, gt=0)
    """The longest time of one answer. Seconds; SageMaker itself cuts a request at 60 s."""


class Staging(Strict):
    """The staging endpoint's instances, for types that AWS often has none of."""

    instance_types: list[str] = Field(default=[], max_length=8)
    """On which the version may be measured, best first; empty: serving.instance_type alone. The next one is taken while there is no capacity
    of those before it. The report says which it was; production measured on another is not compared with."""
    capacity_retries: int = Field(default=2, ge=0, le=20)
    """How many more times all of them are tried when there was no capacity of any."""
    capacity_wait_s: float = Field(default=300.0, ge=0, le=3600)
    """How long to wait before each of these. Seconds."""

    @field_validator("instance_types")
    @classmethod
    def _types_are_known(cls, value: list[str]) -> list[str]:
        return check_each(value)


class Evaluation(Strict):
    """What staging must show before a version may reach production."""

    load_profiles: dict[Annotated[str, _PROFILE_NAME], LoadProfile] = Field(min_length=1)
    """Name → load profile, run in this order."""
    prompt_checks: list[PromptCheck] = []
    """Prompts with known answers; one wrong answer fails the gate."""
    lm_eval: LmEval | None = None
    """Benchmarks of what the model knows, with bounds."""
    instance_count: int = Field(default=1, ge=1)
    """How many instances the staging endpoint has."""
    hosts: int = Field(default=1, ge=1, le=20)
    """How many job instances put the load on together, each its share of rate and concurrency: for a load that one cannot make. One that
    fails makes the run invalid."""
    client_processes: int | None = Field(default=None, ge=1)
    """How many client processes put the load on, at most, on each host; None: one a core."""
    client_lag_at_most_ms: float = Field(default=50.0, gt=0)
    """A run whose client was later than this (p99) is invalid: its numbers say more about the client. Milliseconds."""
    staging: Staging = Staging()
    """The staging endpoint's instances."""
    baseline: Literal["stored", "interleaved"] = "stored"
    """What objectives relative to production are compared with. stored: what production's own evaluation measured, at another time and on another
    instance; its interval counts, and how runs of the same version differ. interleaved: a second staging endpoint with the version that production
    serves, under the same load in alternating blocks; it takes twice the time and twice the instances, and sees far smaller differences."""
    max_runtime_s: int = Field(default=7200, ge=60)
    """The staging endpoint expires this long after it was asked for, whatever happens. Seconds."""

    def is_interleaved(self, profile: LoadProfile) -> bool:
        """Whether a load is put on two endpoints, in alternating blocks, once something is in production."""
        return self.baseline == "interleaved" and profile.is_relative

    @property
    def has_second_endpoint(self) -> bool:
        """Whether there is a second staging endpoint, once something is in production."""
        return any(self.is_interleaved(profile) for profile in self.load_profiles.values())

    def least_s(self, profile: LoadProfile) -> float:
        """Return how long one of its loads takes at least, warm-ups included, and where it is put on production's version, too, that. Seconds."""
        return interleaving.least_s(profile) if self.is_interleaved(profile) else profile.least_s

    def most_s(self, profile: ClosedLoop | OpenLoop) -> float:
        """Return how long one of its loads takes at most that may be measured on. Seconds."""
        return interleaving.most_s(profile) if self.is_interleaved(profile) else profile.most_s

    @field_validator("load_profiles")
    @classmethod
    def _files_are_in_s3(cls, value: dict[str, LoadProfile]) -> dict[str, LoadProfile]:
        """Refuse a path: the job that puts the load on sees no file of the machine on which the model file was written."""
        for name, profile in value.items():
            for key in ("prompts", "trace"):
                address = getattr(profile, key, None)
                if address is not None and not re.match(S3_ADDRESS, address):
                    raise MisplacedValue((name, key), f"{address!r} will not do, expected an S3 address, s3://BUCKET/KEY")
        return value

    @field_validator("load_profiles")
    @classmethod
    def _metrics_exist(cls, value: dict[str, LoadProfile]) -> dict[str, LoadProfile]:
        for name, profile in value.items():
            for metric in profile.objectives:
                if metric not in METRICS:
                    raise MisplacedValue(
                        (name, "objectives", metric),
                        f"no such metric; {did_you_mean(metric, METRICS)}Known: {', '.join(METRICS)}",
                    )
        return value
