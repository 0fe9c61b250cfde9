"""How the simulated engine behaves: one value object, filled from four places.

Later places win: `simulated.json` in the model directory (so that different weights can behave differently behind the
same command), `--sim-plan FILE`, environment variables `SIMULATED_TTFT_MS=200`, flags `--sim-ttft-ms 200`. A running
engine takes changes at `PATCH /simulated/settings`. Names are the fields of `Settings` everywhere; unknown names are
errors.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from container.errors import EngineError

__all__ = ["MODEL_FILE", "Settings", "add_flags", "collect"]

MODEL_FILE = "simulated.json"
_PREFIX = "SIMULATED_"


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Latencies in milliseconds, faults, and the text. Requests count from 1 in order of arrival, tokens from 1.

    Latency
        `ttft_ms` from the start of a request (after any wait for a place in the batch) to its first token, plus
        `ttft_per_prompt_token_us` a prompt token; `itl_ms` between two tokens, plus `itl_per_running_ms` for every other
        running request. `jitter` (0 to 1) varies each by up to that share either way. `latency_factor` multiplies all.
        `max_running` places in the batch (`--max-running-requests` wins); the others wait in order.
        `cache_tokens` is the room of a prefix cache (0: none), in tokens: the beginning of a prompt that an earlier request
        had, question or answer, costs nothing of `ttft_per_prompt_token_us`, and usage says how many tokens that were where
        `--enable-cache-report` is given.
        So the highest rate of requests of n tokens is `max_running / (ttft + (n - 1) x itl)` a second: the knee.
    Text
        `output_tokens` until an answer stops by itself (0: not before the request's limit, `default_max_tokens` without
        one). `answers` maps a text that the prompt contains to the answer. `seed` decides everything that varies.
        One token is one word: prompts are counted that way too, and usage is exact.
    Faults
        `load_s` until healthy; `never_healthy`; `crash_at_start` (exit code 1, nothing answered); `crash_after_requests`
        (the process ends with code 1 on the request after that many); `error_after_requests` (HTTP 500 from then on);
        `error_every` (HTTP 500 to every n-th request). `stall_ms` before token `stall_at_token` of every request, or
        before every `stall_every_tokens`-th token of all; `pause_ms` in which nothing at all is sent, `pause_after_s`
        after becoming ready. `truncate_after_tokens` drops the connection there, of every `truncate_every`-th request.
        `empty_output`, `invalid_utf8` (in the second token) and `finish_reason` spoil the answer itself.
    Measurement
        `stamp` adds `"sent_monotonic_ns"` to every chunk of a token: the clock of `time.monotonic_ns()` as it is handed
        to the kernel. `record` is a file that gets one JSON line a request with the same stamps.
    """

    ttft_ms: float = 50.0
    ttft_per_prompt_token_us: float = 0.0
    itl_ms: float = 10.0
    itl_per_running_ms: float = 0.0
    jitter: float = 0.0
    latency_factor: float = 1.0
    max_running: int = 256
    cache_tokens: int = 0
    output_tokens: int = 0
    default_max_tokens: int = 128
    answers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seed: int = 0
    load_s: float = 0.0
    never_healthy: bool = False
    crash_at_start: bool = False
    crash_after_requests: int = 0
    error_after_requests: int = 0
    error_every: int = 0
    stall_ms: float = 0.0
    stall_at_token: int = 0
    stall_every_tokens: int = 0
    pause_ms: float = 0.0
    pause_after_s: float = 0.0
    truncate_after_tokens: int = 0
    truncate_every: int = 1
    empty_output: bool = False
    invalid_utf8: bool = False
    finish_reason: str = ""
    stamp: bool = False
    record: str = ""

    def changed(self, values: Mapping[str, Any], where: str) -> Settings:
        """Return a copy with `values` (JSON values, or text from a variable) instead; raise `EngineError` that names `where`."""
        fields = {field.name: field for field in dataclasses.fields(self)}
        converted: dict[str, Any] = {}
        for name, value in values.items():
            if name not in fields:
                raise EngineError(f"{where}: unknown setting {name!r}; known are {', '.join(fields)}")
            converted[name] = _convert(where, name, getattr(Settings(), name), value)
        made = dataclasses.replace(self, **converted)
        if made.max_running < 1 or made.truncate_every < 1 or not 0 <= made.jitter <= 1 or made.latency_factor < 0:
            raise EngineError(
                f"{where}: max_running and truncate_every are at least 1, jitter 0 to 1, latency_factor not negative"
            )
        return made


def _convert(where: str, name: str, default: Any, value: Any) -> Any:
    if isinstance(default, str):
        return str(value)
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
        if isinstance(default, bool):
            if not isinstance(parsed, bool):
                raise ValueError
            return parsed
        if isinstance(default, Mapping):
            return {str(key): str(text) for key, text in parsed.items()}
        return type(default)(parsed)
    except (ValueError, TypeError, AttributeError) as error:
        kind = "object" if isinstance(default, Mapping) else type(default).__name__
        raise EngineError(f"{where}: {name} must be of type {kind}, not {value!r}") from error


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--sim-plan` and one `--sim-...` flag a setting to `parser`. Switches take true or false, or nothing."""
    group = parser.add_argument_group("simulation (see container/engines/simulated/settings.py)")
    group.add_argument("--sim-plan", metavar="FILE", help="JSON object of settings by name")
    for field in dataclasses.fields(Settings):
        flag = "--sim-" + field.name.replace("_", "-")
        default = getattr(Settings(), field.name)
        if isinstance(default, bool):
            group.add_argument(flag, nargs="?", const="true", choices=["true", "false"])
        else:
            group.add_argument(flag, metavar="JSON" if isinstance(default, Mapping) else "VALUE", help=f"default {default!r}")


def collect(options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Read the settings from all four places; raise `EngineError` for what is unknown or of the wrong type."""
    settings = Settings()
    beside_weights = Path(options.model_path) / MODEL_FILE
    if beside_weights.exists():
        settings = settings.changed(_read(beside_weights), str(beside_weights))
    if options.sim_plan:
        settings = settings.changed(_read(Path(options.sim_plan)), options.sim_plan)
    names = [field.name for field in dataclasses.fields(Settings)]
    variables = {name: environment[key] for name in names if (key := _PREFIX + name.upper()) in environment}
    flags = {name: value for name in names if (value := getattr(options, f"sim_{name}")) is not None}
    settings = settings.changed(variables, "environment").changed(flags, "--sim flags")
    if options.max_running_requests:
        settings = dataclasses.replace(settings, max_running=options.max_running_requests)
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise EngineError(f"{path}: a JSON object of settings is expected")
    return value
