"""Several instances put one load on: the first has the endpoint, the load and the verdict; the others do their share when it says so.

All begin at the same moment. What comes back is every request, so that each latency has one histogram of all hosts' samples, and no
percentile is averaged. A host that fails or falls silent makes the run invalid: its share of the load was missing, and nobody knows from
when on.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from config.schema import Release
from delivery.aws import s3
from delivery.errors import DeliveryError, HostLost
from delivery.job.frame import progress
from delivery.job.host_registry import HostRegistry, JobHosts
from loadtest.generator.load import Load
from loadtest.generator.worker_pool import WorkerPool
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.worker_result import WorkerResult
from steps.evaluate_staging.coordination.records import pack, unpack
from steps.evaluate_staging.coordination.store import (
    ClientProcess,
    CoordinationStore,
    D,
    HostReady,
    HostReport,
    LoadOrder,
    LoadStart,
)
from steps.evaluate_staging.load_errors import translate_load_errors

logger = logging.getLogger(__name__)

_READINGS = 5


@dataclass(frozen=True)
class Timing:
    """How quickly hosts hear of one another, and miss one another. Seconds."""

    heartbeat_s: float = 5.0
    host_silence_s: float = 60.0
    host_start_s: float = 900.0
    """How much later than this one another host may start."""
    stop_grace_s: float = 5.0
    look_s: float = 0.25
    """How often a document that is waited for is looked for."""
    check_s: float = 2.0
    """How often, meanwhile, it is checked that the others live."""
    lead_s: float = 2.0
    """Between "begin" and the beginning: longer than it takes all to read it."""


class Host:
    """This host's part in an evaluation."""

    def __init__(
        self,
        hosts: JobHosts | None = None,
        registry: HostRegistry | None = None,
        store: CoordinationStore | None = None,
        timing: Timing | None = None,
    ) -> None:
        """With `registry` and `store` one of several; without, alone."""
        self.hosts, self._registry, self._store, self._timing = hosts or JobHosts(), registry, store, timing or Timing()

    @property
    def leads(self) -> bool:
        """Whether it is the one that makes the endpoint and judges."""
        return self.hosts.index == 0

    def fleet(self, processes: int | None) -> WorkerPool:
        """Start the client processes of all hosts."""
        if self._registry is None or self._store is None:
            return WorkerPool(processes)
        return SharedWorkerPool(processes, self._store, LivenessWaiter(self._registry, self._timing), self.hosts, self._timing)

    def follow(self, processes: int | None) -> None:
        """Do what the first host says until it says that there is no more. DeliveryError when that one is gone."""
        assert self._registry is not None and self._store is not None  # noqa: S101  (there is one to follow)
        waiter = LivenessWaiter(self._registry, self._timing, self.hosts.names[:1])
        with tempfile.TemporaryDirectory(prefix="evaluation-") as folder, WorkerPool(processes) as pool:
            follower = _Follower(pool, self._store, waiter, self.hosts, Path(folder))
            while follower.do_next():
                pass


@contextmanager
def join(release: Release, execution: str, hosts: JobHosts, job: str | None, timing: Timing | None = None) -> Iterator[Host]:
    """Join the other hosts: they see that this one lives, and how it ended.

    Args:
        release: The resolved model file.
        execution: The pipeline execution.
        hosts: All of them, and which this is.
        job: The job's name, another at each try.
        timing: How quickly they hear of one another.

    Yields:
        This host.
    """
    if len(hosts.names) == 1:
        yield Host(hosts)
        return
    timing = timing or Timing()
    client = s3.client(release.environment.region)
    prefix = s3.S3Uri.parse(f"{release.evaluations_prefix}/{execution}")
    with HostRegistry(client, prefix, job or execution, hosts, timing, lambda: "at work") as registry:
        yield Host(hosts, registry, CoordinationStore(client, registry.folder), timing)


class LivenessWaiter:
    """Waits for documents, as long as those who should write them live."""

    def __init__(self, registry: HostRegistry, timing: Timing, whom: tuple[str, ...] | None = None) -> None:
        self._registry, self._timing, self._whom = registry, timing, whom

    def heard(self, name: str) -> None:
        """Note that a host wrote a document: it lives."""
        self._registry.heard(name)

    def wait_for(self, store: CoordinationStore, path: str, kind: type[D]) -> D:
        """Wait for the document at a path. HostLost when one of the others is gone."""
        checked = time.monotonic()
        while (found := store.get(path, kind)) is None:
            if time.monotonic() - checked >= self._timing.check_s:
                checked = time.monotonic()
                if trouble := self._registry.check(self._whom):
                    raise HostLost(trouble)
            time.sleep(self._timing.look_s)
        return found


class SharedWorkerPool(WorkerPool):
    """The first host's: its own client processes do its share, those of the other hosts theirs."""

    def __init__(
        self, processes: int | None, store: CoordinationStore, waiter: LivenessWaiter, hosts: JobHosts, timing: Timing
    ) -> None:
        super().__init__(processes)
        self._store, self._waiter, self._hosts, self._timing = store, waiter, hosts, timing
        self._number = 0
        self._lost = ""

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        if kind is None:  # else they hear that this host has failed
            self._number += 1
            self._store.put(f"orders/{self._number}.json", LoadOrder(kind="end"))

    def measure(self, load: Load, on_progress: Callable[[str], None] = lambda _: None) -> Measurement:
        """Put a load on from all hosts. When one is lost, the measurement says so, and no load is put on any more."""
        begin_ns, found = time.monotonic_ns(), list[WorkerResult]()
        if not self._lost:
            self._number += 1
            try:
                share, begin_ns = self._agree_on_start(load)
                found += self.begin(share, begin_ns, _of_all(len(self._hosts.names), on_progress))
                for name in self._hosts.names[1:]:
                    found += self._read_report_of(name, begin_ns)
            except HostLost as lost:
                self._lost = f"host {lost}: its share of the load is missing"
                logger.warning(self._lost)
        measurement = Measurement.of(load.window_s, begin_ns, found)
        measurement.hosts, measurement.invalid_reason = len(self._hosts.names), self._lost
        return measurement

    def _agree_on_start(self, load: Load) -> tuple[Load, int]:
        """Have all prepare the load, and agree on its beginning; returns this host's share, and when that is on its monotonic clock."""
        self._store.put(f"orders/{self._number}.json", self._store.put_load_files(load))
        share = load.share(0, len(self._hosts.names))
        self.prepare(share)
        for name in self._hosts.names[1:]:
            ready = self._waiter.wait_for(self._store, f"ready/{self._number}/{name}.json", HostReady)
            self._waiter.heard(name)
            _raise_if_failed(name, ready.error)
        at_ns = time.time_ns() + int(self._timing.lead_s * 1e9)
        self._store.put(f"begin/{self._number}.json", LoadStart(at_ns=at_ns))
        return share, _monotonic_ns(at_ns)

    def _read_report_of(self, name: str, begin_ns: int) -> list[WorkerResult]:
        """Read what another host measured, on this one's clock."""
        done = self._waiter.wait_for(self._store, f"results/{self._number}/{name}.json", HostReport)
        _raise_if_failed(name, done.error)
        body = self._store.get_bytes(f"results/{self._number}/{name}.parquet")
        if body is None or not done.processes:
            raise HostLost(f"{name} left no requests")
        found = [WorkerResult(**dict(process)) for process in done.processes]
        found[0].results = unpack(body, begin_ns)
        return found


def _raise_if_failed(name: str, error: str) -> None:
    if error:
        raise HostLost(f"{name} failed: {error}")


def _of_all(hosts: int, on_progress: Callable[[str], None]) -> Callable[[str], None]:
    return lambda detail: on_progress(f"{detail} (this host's, of {hosts})")


def _monotonic_ns(wall_ns: int) -> int:
    """Return a moment of the wall clock on this host's monotonic one. Of a few readings the one that was least interrupted counts."""
    readings = []
    for _ in range(_READINGS):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        readings.append((after - before, (before + after) // 2 - wall))
    return wall_ns + min(readings)[1]


@dataclass
class _Follower:
    """One of the other hosts."""

    pool: WorkerPool
    store: CoordinationStore
    waiter: LivenessWaiter
    hosts: JobHosts
    folder: Path
    number: int = 0

    def do_next(self) -> bool:
        """Do the next order; False when there is none any more.

        What goes wrong is told to the first host, which says that the run is invalid; if this process failed instead, SageMaker would end
        the whole job, and there would be no report that says so.
        """
        self.number += 1
        order = self.waiter.wait_for(self.store, f"orders/{self.number}.json", LoadOrder)
        if order.kind == "end":
            logger.info("the first host is done")
            return False
        try:
            with translate_load_errors():
                begin_ns, load = self._prepare(order)
        except DeliveryError as error:
            logger.warning(f"load {self.number} cannot be prepared: {error}")
            self.store.put(f"ready/{self.number}/{self.hosts.current}.json", HostReady(error=str(error)))
            return True
        try:
            with translate_load_errors():
                done = self._measure(load, begin_ns)
        except DeliveryError as error:
            logger.warning(f"load {self.number} failed: {error}")
            done = HostReport(error=str(error))
        self.store.put(f"results/{self.number}/{self.hosts.current}.json", done)
        return True

    def _prepare(self, order: LoadOrder) -> tuple[int, Load]:
        load = self.store.read_load(order, self.folder).share(self.hosts.index, len(self.hosts.names))
        self.pool.prepare(load)
        self.store.put(f"ready/{self.number}/{self.hosts.current}.json", HostReady())
        begin = self.waiter.wait_for(self.store, f"begin/{self.number}.json", LoadStart)
        return _monotonic_ns(begin.at_ns), load

    def _measure(self, load: Load, begin_ns: int) -> HostReport:
        late_s = (time.monotonic_ns() - begin_ns) / 1e9
        if late_s > 0:
            raise DeliveryError(f"heard of the beginning {late_s:.1f} s after it")
        found = self.pool.begin(load, begin_ns, lambda detail: progress(f"load {self.number}: {detail}"))
        results = [result for one in found for result in one.results]
        self.store.put_bytes(f"results/{self.number}/{self.hosts.current}.parquet", pack(results, begin_ns))
        logger.info(f"load {self.number}: {len(results)} requests")
        return HostReport(processes=[_of_process(one) for one in found])


def _of_process(found: WorkerResult) -> ClientProcess:
    """Return how a client process fared; its requests go another way."""
    return ClientProcess(
        cpu_share=found.cpu_share,
        lag_ns=list(found.lag_ns),
        prompts_to=found.prompts_to,
        prompts_repeated=found.prompts_repeated,
    )
