"""Measure one server with load profiles: the whole of a load test, from the first check to the verdict."""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from loadtest.addresses import read_address
from loadtest.client.chat_client import ChatRequest
from loadtest.errors import LoadTestError
from loadtest.generator.load import Load
from loadtest.generator.worker_pool import WorkerPool
from loadtest.inputs import LoadInputs
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.scoring import profile_result
from loadtest.profile_file import check_objectives_alone
from loadtest.profiles import METRICS, LoadProfile
from loadtest.report import LoadTestReport, ProfileReport, judge
from loadtest.runner import ProfileRun, Runner
from loadtest.server.page import metrics_address
from loadtest.server.sampler import MetricsSampler
from loadtest.transports import Transport

_log = logging.getLogger(__name__)
_TRIES = 3
_FIRST_TIMEOUT_S = 60.0
Transports = Callable[[LoadProfile], Transport]
"""Gives the way to the server for each profile."""


def measure(
    transport: Transport | Transports,
    profiles: Mapping[str, LoadProfile],
    *,
    target: str = "",
    tokenizer: str | None = None,
    processes: int | None = None,
    lag_at_most_ms: float = 50.0,
    usd_per_hour: float | None = None,
    baseline: LoadTestReport | None = None,
    seed: str | None = None,
    metrics_url: str | None = None,
) -> tuple[LoadTestReport, dict[str, Measurement]]:
    """Put load profiles on a server, one after the other, and judge their objectives.

    Args:
        transport: the way to the server, or a function that gives it for a profile.
        profiles: name → profile.
        target: what the report calls the server; empty: its address.
        tokenizer: path or S3 address of the model's tokenizer.json; None: prompts have about as many tokens as asked for, and the server's
            token counts are taken on trust.
        processes: how many client processes at most; None: one a core.
        lag_at_most_ms: a client that was later than this (p99) makes the run invalid. Milliseconds.
        usd_per_hour: what the server costs, for the price of a million tokens. US dollars an hour.
        baseline: an earlier report that relative objectives are compared with.
        seed: what prompts are made of. None: something new, so that no prompt is one that the server knows from an earlier run.
        metrics_url: the server's Prometheus page, which is sampled beside the load and decides nothing; None: it is not asked.

    Returns:
        The report, and every request of each profile by its name.

    Raises:
        InvalidInput: a profile, a trace, a prompts file or the tokenizer can never work.
        LoadTestError: the server does not answer, or a client process failed.
    """
    if baseline is None:
        check_objectives_alone(profiles)
    transports: Transports = transport if callable(transport) else lambda _: transport
    seed = secrets.token_hex(4) if seed is None else seed
    began_at = datetime.now(UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="loadtest-") as folder, WorkerPool(processes) as pool, ExitStack() as beside:
        inputs = LoadInputs(read_address, Path(folder), tokenizer)
        if tokenizer:
            inputs.required(tokenizer)
        inputs.check(profiles.values())
        for server in dict.fromkeys(map(transports, profiles.values())):
            _wait_for_one_answer(pool, server)
        sampler = beside.enter_context(MetricsSampler(metrics_address(metrics_url))) if metrics_url else None
        runner = Runner(pool, transports, inputs, lag_at_most_ms=lag_at_most_ms, seed=seed)
        runs: dict[str, ProfileRun] = {}
        for number, (name, profile) in enumerate(profiles.items()):
            _log.info("%s: %s", name, profile.sentence.format(**profile.model_dump()))
            runs[name] = runner.run(profile, number, _logged(name))

        def score(name: str) -> ProfileReport:
            before = baseline.profiles.get(name) if baseline else None
            return _report(profiles[name], runs[name], usd_per_hour, lag_at_most_ms, before, sampler)

        reports = runner.measure_undecided(profiles, runs, score, _logged)
        measurements = {name: run.measurement for name, run in runs.items()}
    verdict, reasons = judge(reports)
    where = target or transports(next(iter(profiles.values()))).server
    report = LoadTestReport(target=where, began_at=began_at, seed=seed, verdict=verdict, reasons=reasons, profiles=reports)
    return report, measurements


def _wait_for_one_answer(pool: WorkerPool, transport: Transport) -> None:
    """Send a short request before the load: a server that does not answer it is not asked ten thousand times."""
    request = ChatRequest(({"role": "user", "content": "Say hello."},), 8)
    for number in range(1, _TRIES + 1):
        [result] = pool.send_together(Load(transport, _FIRST_TIMEOUT_S, 0, 0, 0, 0), request, 1)
        if result.is_ok:
            return
        _log.warning("request %d of %d before the load failed: %s: %s", number, _TRIES, result.error, result.message)
    raise LoadTestError(
        f"{transport.server} does not answer: {result.error}: {result.message}; check the address, the model's name and the credentials"
    )


def _logged(name: str) -> Callable[[str], None]:
    return lambda detail: _log.info("%s: %s", name, detail)


def _report(
    profile: LoadProfile,
    run: ProfileRun,
    usd_per_hour: float | None,
    lag_at_most_ms: float,
    before: ProfileReport | None,
    sampler: MetricsSampler | None,
) -> ProfileReport:
    result = profile_result(
        profile.load,
        run.measurement,
        profile.objectives,
        usd_per_hour=usd_per_hour,
        lag_at_most_ms=lag_at_most_ms,
        production=before,
        trials=run.trials,
        extra_metrics=run.extra_metrics,
    )
    known = {name: getattr(result, name) for name in type(result).model_fields}
    if sampler is not None:
        known["server"] = sampler.measured(run.measurement)
    return ProfileReport(**known, intervals=run.measurement.intervals(METRICS, profile.objectives))
