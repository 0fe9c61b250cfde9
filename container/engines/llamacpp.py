"""A real model on a CPU: SGLang's flags and HTTP surface in front of llama.cpp (the package `xllamacpp`).

    python -m container.engines.llamacpp --model-path DIRECTORY [flags of SGLang]

Of SGLang's flags these mean something here: `--model-path` (a GGUF file, or a directory with exactly one, shards of one
model counting as one), `--host`, `--port`, `--served-model-name`, `--context-length` (tokens a request may have,
default: the model's own, at most 4096), `--max-running-requests` (slots of the continuous batch, default 4),
`--chunked-prefill-size` (tokens per prefill batch), `--random-seed`, and `--chat-template` (a Jinja file).
The rest is accepted and changes nothing.

llama.cpp's server runs inside this process and is called directly, one thread a running request; nothing is proxied.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from container.engines import arguments
from container.engines.chat import ChatError, ChatRequest, Sink, Usage
from container.engines.http import Exchange
from container.engines.metrics import Metrics
from container.engines.surface import serve
from container.errors import EngineError
from container.flags import FlagTable

__all__ = ["DEFAULT_CONTEXT", "DEFAULT_SLOTS", "LlamaCpp", "find_gguf", "main"]

DEFAULT_SLOTS = 4
DEFAULT_CONTEXT = 4096
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_LOG = logging.getLogger(__name__)


def find_gguf(model_path: str) -> Path:
    """Return the GGUF file that `model_path` names or holds; raise `EngineError` when there is none, or more than one."""
    path = Path(model_path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise EngineError(f"model path {model_path} does not exist; give a GGUF file or a directory that holds one")
    files = sorted(path.rglob("*.gguf"))
    first = [file for file in files if not (shard := _SHARD.search(file.name)) or shard.group(1) == "00001"]
    if not first:
        raise EngineError(f"no GGUF file in {model_path}; this engine runs GGUF weights only, safetensors need SGLang")
    if len(first) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in first[:4])
        raise EngineError(f"{len(first)} GGUF models in {model_path} ({names}); include only one in the model file")
    with first[0].open("rb") as handle:
        if handle.read(4) != b"GGUF":
            raise EngineError(f"{first[0]} is not a GGUF file")
    return first[0]


def trained_context(path: Path) -> int | None:
    """Read from its header the context length that the GGUF file `path` names as the model's own; None without one."""
    with path.open("rb") as handle:
        head = handle.read(1 << 20)
    # Metadata entries are: key length (u64), key, value type (u32), value. Type 4 is u32.
    found = re.search(rb"[a-z0-9_]+\.context_length\x04\x00\x00\x00(....)", head, re.DOTALL)
    return int(struct.unpack("<I", found.group(1))[0]) if found else None


class LlamaCpp:
    """llama.cpp as an `Engine` (see `container.engines.surface`)."""

    name = "llamacpp"

    def __init__(self, options: argparse.Namespace) -> None:
        self.metrics = Metrics()
        self._options = options
        self._slots = options.max_running_requests or DEFAULT_SLOTS
        self._path = find_gguf(options.model_path)
        self.max_model_len = options.context_length or min(trained_context(self._path) or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
        self._threads = ThreadPoolExecutor(max_workers=self._slots, thread_name_prefix="request")
        self._server: Any = None

    async def load(self) -> None:
        """Load the model. llama.cpp reports a bad file by an exception or by ending the process with a message."""
        try:
            self._server = await asyncio.get_running_loop().run_in_executor(self._threads, self._start)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"llama.cpp cannot load {self._path}: {error}") from error

    def _start(self) -> Any:
        import xllamacpp  # deferred: a package of its own, needed once a model is loaded

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        params = xllamacpp.CommonParams()
        params.model.path = str(self._path)
        params.n_parallel = self._slots
        # llama.cpp divides the context among its slots; SGLang's flag is the length of one request.
        params.n_ctx = self.max_model_len * self._slots
        # llama.cpp's threads wait for one another at every layer. When another process takes a core from one of them all wait, and by
        # default they spin meanwhile, burning the time that the other needs. On 2 cores shared with a client, 2 threads gave 8 tokens/s
        # and 1 gave 53, for a seventh of the CPU. So one core stays free for the rest of the machine, and nobody spins.
        for threads in (params.cpuparams, params.cpuparams_batch):
            threads.n_threads = max(1, cores - 1)
            threads.poll = 0
        params.n_threads_http = 1
        params.cont_batching = True
        params.use_jinja = True
        params.verbosity = 1
        params.ui = False
        if self._options.chunked_prefill_size and self._options.chunked_prefill_size > 0:
            params.n_batch = self._options.chunked_prefill_size
        if self._options.random_seed is not None:
            params.sampling.seed = self._options.random_seed
        if self._options.chat_template and Path(self._options.chat_template).is_file():
            params.chat_template = Path(self._options.chat_template).read_text(encoding="utf-8")
        return xllamacpp.Server(params)

    def submit(self, request: ChatRequest, sink: Sink) -> Callable[[], None]:
        """Queue the request for a slot."""
        job = _Job(self, request, sink, asyncio.get_running_loop())
        future = self._threads.submit(job.run)
        self.metrics.queued += 1

        def cancel() -> None:
            job.cancelled = True
            self.metrics.aborted += 1
            if future.cancel():
                self.metrics.queued -= 1

        return cancel

    def complete(self, body: dict[str, Any], on_chunk: Callable[[Any], bool] | None) -> Any:
        """Ask llama.cpp, on the calling thread; `on_chunk` gets the chunks of a stream and ends it by returning True."""
        return self._server.handle_chat_completions(body, on_chunk) if on_chunk else self._server.handle_chat_completions(body)

    async def close(self) -> None:
        """Free the model."""
        self._threads.shutdown(cancel_futures=True)
        self._server = None

    def control(self, exchange: Exchange) -> bool:
        """There are no paths beyond SGLang's."""
        return False


class _Job:
    """One request in a thread of its own; what it finds goes to the sink on the event loop."""

    def __init__(self, engine: LlamaCpp, request: ChatRequest, sink: Sink, loop: asyncio.AbstractEventLoop) -> None:
        self.cancelled = False
        self._engine = engine
        self._request = request
        self._sink = sink
        self._loop = loop
        self._reason = "stop"
        self._usage = Usage(0, 0)
        self._error: ChatError | None = None

    def run(self) -> None:
        """Answer the request; never raises."""
        metrics = self._engine.metrics
        self._loop.call_soon_threadsafe(self._started, metrics)
        try:
            if self._request.stream:
                self._stream()
            else:
                self._whole()
        except ChatError as error:
            self._loop.call_soon_threadsafe(self._sink.fail, error)
        except ValueError as error:
            self._loop.call_soon_threadsafe(self._sink.fail, ChatError(str(error)))
        except Exception as error:  # noqa: BLE001 - a request must not take the engine with it
            _LOG.warning("request failed: %s", error)
            self._loop.call_soon_threadsafe(self._sink.fail, ChatError(str(error), 500, "InternalServerError"))
        finally:
            self._loop.call_soon_threadsafe(self._ended, metrics)

    @staticmethod
    def _started(metrics: Metrics) -> None:
        metrics.queued -= 1
        metrics.running += 1

    @staticmethod
    def _ended(metrics: Metrics) -> None:
        metrics.running -= 1

    def _whole(self) -> None:
        answer = self._engine.complete({**self._body(), "stream": False}, None)
        choice = _checked(answer)["choices"][0]
        usage = _usage(answer["usage"])
        self._loop.call_soon_threadsafe(self._sink.message, choice["message"], choice["finish_reason"], usage)

    def _stream(self) -> None:
        self._engine.complete({**self._body(), "stream": True, "stream_options": {"include_usage": True}}, self._chunk)
        if self._error is not None:
            self._loop.call_soon_threadsafe(self._sink.fail, self._error)
        elif not self.cancelled:
            self._loop.call_soon_threadsafe(self._sink.finish, self._reason, self._usage)

    def _chunk(self, chunk: Any) -> bool:
        """Take one chunk of llama.cpp's stream. Returning True ends the stream: the client has gone, or it is an error."""
        for one in chunk if isinstance(chunk, list) else [chunk]:
            try:
                self._forward(_checked(one))
            except ChatError as error:
                self._error = error
                return True
        return self.cancelled

    def _forward(self, chunk: dict[str, Any]) -> None:
        if chunk.get("usage"):
            self._usage = _usage(chunk["usage"])
        for choice in chunk.get("choices", ()):
            self._reason = choice.get("finish_reason") or self._reason
            delta = {name: value for name, value in choice.get("delta", {}).items() if name != "role" and value is not None}
            if list(delta) == ["content"]:
                self._loop.call_soon_threadsafe(self._sink.token, delta["content"])
            elif delta:
                self._loop.call_soon_threadsafe(self._sink.delta, delta)

    def _body(self) -> dict[str, Any]:
        body = {name: value for name, value in self._request.body.items() if value is not None}
        # llama.cpp knows the older name of the limit only; temperature 0 is greedy there, as in SGLang.
        body.pop("max_completion_tokens", None)
        if self._request.max_tokens is not None:
            body["max_tokens"] = self._request.max_tokens
        return body


def _usage(usage: dict[str, Any]) -> Usage:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return Usage(usage["prompt_tokens"], usage["completion_tokens"], cached)


def _checked(answer: Any) -> dict[str, Any]:
    """`answer` as an object; an error that llama.cpp returned as one is raised as `ChatError`."""
    if not isinstance(answer, dict):
        raise ChatError(f"llama.cpp answered with {type(answer).__name__}", 500, "InternalServerError")
    error = answer.get("error")
    if error:
        status = error.get("code", 500) if isinstance(error, dict) else 500
        message = error.get("message", error) if isinstance(error, dict) else error
        raise ChatError(str(message), status, "BadRequestError" if status < 500 else "InternalServerError")
    return answer


def main(words: list[str] | None = None) -> int:
    """Run the command; return the exit code (2 for unknown flags, 1 when the model cannot be loaded)."""
    table = FlagTable.load()
    options = arguments.parser("python -m container.engines.llamacpp", "SGLang's surface on llama.cpp", table).parse_args(words)
    try:
        engine = LlamaCpp(options)
    except EngineError as error:
        logging.basicConfig(format="%(message)s")
        _LOG.error("llamacpp: %s", error)
        return error.exit_code
    return serve(engine, options, table.version)


if __name__ == "__main__":
    raise SystemExit(main())
