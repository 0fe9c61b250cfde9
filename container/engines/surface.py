"""SGLang's HTTP surface in front of any engine: health, models, server info, metrics, chat completions.

An engine is anything with the members of `Engine`. `serve` loads it while the port is open already and answers 503 on
`/ping` and `/health` until it is ready, which is what SageMaker's health check waits for. SIGTERM and SIGINT stop
accepting, let answers under way end (at most `DRAIN_S`), and end the process with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Protocol

from container.engines.chat import ChatError, ChatRequest, Sink, StreamSink, WholeSink, error_body, parse
from container.engines.http import Exchange, HttpServer
from container.engines.metrics import Metrics
from container.errors import EngineError

__all__ = ["DRAIN_S", "Engine", "Surface", "model_name", "serve"]

DRAIN_S = float(os.environ.get("SGLANG_STAND_IN_DRAIN_S", "60"))


class Engine(Protocol):
    """What stands behind the surface."""

    name: str
    metrics: Metrics
    max_model_len: int

    async def load(self) -> None:
        """Become ready to answer. Raises `EngineError` when that is impossible."""

    def submit(self, request: ChatRequest, sink: Sink) -> Callable[[], None]:
        """Begin to answer into `sink`, soon and not before this returns; returns what cancels it.

        Raises `ChatError` for a request that this engine refuses.
        """

    async def close(self) -> None:
        """Free what `load` took; no request is under way any more."""

    def control(self, exchange: Exchange) -> bool:
        """Answer a path of the engine's own; False when it is not one."""


def model_name(options: argparse.Namespace) -> str:
    """Return the name that clients use for the model: `--served-model-name`, else the model path, as SGLang has it."""
    return str(options.served_model_name or options.model_path)


class Surface:
    """Routes requests to an engine."""

    def __init__(self, engine: Engine, options: argparse.Namespace, version: str) -> None:
        self.engine = engine
        self.ready = False
        self._options = options
        self._version = version
        self._model = model_name(options)
        self._created = int(time.time())
        self._routes: dict[tuple[str, str], Callable[[Exchange], None]] = {
            ("GET", "/ping"): self._health,
            ("GET", "/health"): self._health,
            ("GET", "/health_generate"): self._health,
            ("GET", "/ready"): self._health,
            ("GET", "/v1/models"): self._models,
            ("GET", "/server_info"): self._server_info,
            ("GET", "/get_server_info"): self._server_info,
            ("GET", "/model_info"): self._model_info,
            ("GET", "/get_model_info"): self._model_info,
            ("POST", "/invocations"): self._chat,
            ("POST", "/v1/chat/completions"): self._chat,
        }
        if options.enable_metrics:
            self._routes["GET", "/metrics"] = self._metrics
        self._paths = {path for _, path in self._routes}

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request; a streamed answer goes on after this returns."""
        method = "GET" if exchange.method == "HEAD" else exchange.method
        route = self._routes.get((method, exchange.path))
        if route is not None:
            route(exchange)
        elif exchange.path in self._paths:
            exchange.respond_json(405, {"detail": "Method Not Allowed"})
        elif not self.engine.control(exchange):
            exchange.respond_json(404, {"detail": "Not Found"})

    def _health(self, exchange: Exchange) -> None:
        exchange.respond(200 if self.ready else 503)

    def _models(self, exchange: Exchange) -> None:
        card = {
            "id": self._model,
            "object": "model",
            "created": self._created,
            "owned_by": "sglang",
            "root": self._model,
            "parent": None,
            "max_model_len": self.engine.max_model_len,
        }
        exchange.respond_json(200, {"object": "list", "data": [card]})

    def _model_info(self, exchange: Exchange) -> None:
        exchange.respond_json(
            200,
            {
                "model_path": self._options.model_path,
                "tokenizer_path": self._options.model_path,
                "is_generation": True,
                "weight_version": "default",
            },
        )

    def _server_info(self, exchange: Exchange) -> None:
        given = {name: value for name, value in vars(self._options).items() if value not in (None, False)}
        metrics = self.engine.metrics
        exchange.respond_json(
            200,
            {
                **{name: value if isinstance(value, str | int | float | list) else str(value) for name, value in given.items()},
                "engine": self.engine.name,
                "version": self._version,
                "internal_states": [{"num_running_reqs": metrics.running, "num_queue_reqs": metrics.queued}],
            },
        )

    def _metrics(self, exchange: Exchange) -> None:
        exchange.respond(200, self.engine.metrics.render(self._model).encode(), "text/plain; version=0.0.4")

    def _chat(self, exchange: Exchange) -> None:
        try:
            if not self.ready:
                raise ChatError("the model is not loaded yet", 503, "ServiceUnavailableError")
            request = parse(exchange.body)
            make = StreamSink if request.stream else WholeSink
            sink = make(exchange, request, self.engine.metrics)
            exchange.on_disconnect = self.engine.submit(request, sink)
        except ChatError as error:
            exchange.respond_json(error.status, error_body(str(error), error.status, error.kind))


def serve(engine: Engine, options: argparse.Namespace, version: str) -> int:
    """Run `engine` behind the surface on `options.host`:`options.port` until a signal; returns the exit code.

    Prints one line on stderr when it is ready (`engine NAME is ready on HOST:PORT`), and one line when it cannot load.
    """
    try:
        return asyncio.run(_serve(engine, Surface(engine, options, version), options))
    except EngineError as error:
        sys.stderr.write(f"{engine.name}: {' '.join(str(error).split())}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{engine.name}: cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1


async def _serve(engine: Engine, surface: Surface, options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = HttpServer(surface.handle)
    port = await server.start(options.host, options.port)
    started = time.monotonic()
    loading = asyncio.ensure_future(engine.load())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        loading.result()
        surface.ready = True
        seconds = time.monotonic() - started
        sys.stderr.write(f"engine {engine.name} is ready on {options.host}:{port} after {seconds:.2f} s\n")
        await stopping
    else:
        loading.cancel()
    drained = await server.close(DRAIN_S)
    sys.stderr.write(f"engine {engine.name} stopped{'' if drained else ', answers were still under way'}\n")
    if loading.done() and not loading.cancelled():
        await engine.close()
    return 0
