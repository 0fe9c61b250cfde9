"""Runs the steps of a graph: starts a step when what it needs has ended, as many at once as allowed, until none is left."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import StepFailed, StepStopped, UnresolvedError
from sagemaker_local.pipelines.definitions.functions import resolve
from sagemaker_local.pipelines.definitions.graph import Readiness, StepEnding
from sagemaker_local.pipelines.definitions.model import StepSpec
from sagemaker_local.pipelines.executions import announcements, retries
from sagemaker_local.pipelines.records import StepRecord
from sagemaker_local.pipelines.steps import RUN
from sagemaker_local.pipelines.steps.base import StepResult, StepRun, quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sagemaker_local.context import Context
    from sagemaker_local.pipelines.definitions.functions import ExpressionScope
    from sagemaker_local.pipelines.definitions.graph import Graph
    from sagemaker_local.pipelines.executions.caching import Cache
    from sagemaker_local.pipelines.records import ExecutionRecord, ExecutionRecords

_LOGGER = logging.getLogger(__name__)


@dataclass
class ExecutionState:
    """What all steps of one execution have in common."""

    context: Context
    records: ExecutionRecords
    execution: ExecutionRecord
    scope: ExpressionScope
    cache: Cache
    specs: dict[str, StepSpec]
    """Every step by name, those of iterations too once they are known."""
    steps: dict[str, StepRecord]
    """Every step that has started, or whose result is there from before."""
    stopping: threading.Event = field(default_factory=threading.Event)
    interrupted: bool = False
    """The server stops: what ends from now on is not recorded."""
    lock: threading.RLock = field(default_factory=threading.RLock)


@dataclass
class Scheduler:
    """Runs the steps of one graph. ``run`` blocks; ``end_running_steps`` may be called from any thread."""

    shared: ExecutionState
    graph: Graph
    limit: Callable[[], int]
    """How many steps may run at once, now."""
    endings: dict[str, StepEnding] = field(default_factory=dict)
    """How steps ended. Those that are in it from the start are not run."""
    iterations: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """The IterationContext of steps that belong to a ForEach."""

    def __post_init__(self) -> None:
        self._outcomes: dict[str, bool] = {}
        for name, step in self.shared.steps.items():
            if step.type == "Condition" and self.endings.get(name) is StepEnding.SUCCEEDED:
                self._outcomes[name] = bool(step.properties["Outcome"])
        self._inner: list[Scheduler] = []
        self._active: dict[str, StepRun | None] = {}
        self._finished: queue.SimpleQueue[tuple[str, StepEnding, StepResult | None]] = queue.SimpleQueue()

    def run(self) -> None:
        """Run every step that is to run; ``endings`` says afterwards how each ended."""
        while True:
            self._start_ready_steps()
            if not self._active:
                return
            name, ending, result = self._finished.get()
            with self.shared.lock:
                del self._active[name]
                self.endings[name] = ending
                if result is not None and result.outcome is not None:
                    self._outcomes[name] = result.outcome
            if ending is StepEnding.FAILED and self.graph.steps[name].type == "Fail":
                self.end_running_steps()

    def end_running_steps(self) -> None:
        """Start no more steps, and stop the running ones."""
        self.shared.stopping.set()
        with self.shared.lock:
            for inner in self._inner:
                inner.end_running_steps()
            for name, run in self._active.items():
                step = self.shared.steps[name]
                if step.status in ("Starting", "Executing"):
                    previous, step.status = step.status, "Stopping"
                    self._save(step, previous)
                for stop in run.on_stop if run is not None else ():
                    threading.Thread(target=quietly, args=(stop,), name=f"stop {name}", daemon=True).start()

    # --- choosing -------------------------------------------------------------------------------------------------

    def _start_ready_steps(self) -> None:
        limit = self.limit()
        changed = True
        while changed and not self.shared.stopping.is_set():
            changed = False
            for name, spec in self.graph.steps.items():
                if name in self.endings or name in self._active:
                    continue
                verdict = self.graph.verdict(name, self.endings, self._outcomes)
                if verdict is Readiness.SKIP:
                    self.endings[name] = StepEnding.SKIPPED
                    changed = True
                elif verdict is Readiness.RUN and len(self._active) < limit:
                    self._start(spec)

    def _start(self, spec: StepSpec) -> None:
        with self.shared.lock:
            step = StepRecord(
                spec.name,
                spec.type,
                order=len(self.shared.steps),
                start_time=time.time(),
                display_name=spec.raw.get("DisplayName", ""),
                description=spec.raw.get("Description", ""),
                iteration=self.iterations.get(spec.name, {}),
            )
            self._active[spec.name] = None
            self.shared.steps[spec.name] = step
        self._save(step, previous=None)
        threading.Thread(target=self._run_step, args=(spec, step), name=f"step {spec.name}", daemon=True).start()

    # --- one step, in its thread ----------------------------------------------------------------------------------

    def _run_step(self, spec: StepSpec, step: StepRecord) -> None:
        ending, result, reason = (
            StepEnding.FAILED,
            None,
            "InternalServerError: We encountered an internal error. Please try again.",
        )
        try:
            result = self._attempts(spec, step)
            ending, reason = StepEnding.SUCCEEDED, ""
        except StepStopped:
            ending, reason = StepEnding.STOPPED, ""
        except StepFailed as failure:
            reason = failure.reason
        except UnresolvedError as error:
            reason = f"ClientError: {error}"
        except Exception:
            _LOGGER.exception("step %s of %s", spec.name, self.shared.execution.arn)
        with self.shared.lock:
            if self.shared.interrupted:
                return
            previous, step.status, step.end_time, step.failure_reason = step.status, ending.value, time.time(), reason
            if result is not None:
                step.properties = result.properties
            self._save(step, previous)
            if ending is StepEnding.SUCCEEDED and step.cache_key:
                self.shared.cache.remember(step, self.shared.execution)
        self._finished.put((spec.name, ending, result))

    def _attempts(self, spec: StepSpec, step: StepRecord) -> StepResult:
        """Run the step, again and again where its retry policies say so."""
        plan = retries.Retries(tuple(spec.raw.get("RetryPolicies") or ()), time.monotonic())
        while True:
            try:
                return self._attempt(spec, step)
            except StepFailed as failure:
                delay_s = plan.delay_s(failure.exception_type, time.monotonic())
                if delay_s is None:
                    if failure.exception_type and step.attempts == 1:
                        failure.reason += retries.not_retried(self.shared.execution.arn, spec.name, failure.exception_type)
                    raise
                if self.shared.stopping.wait(delay_s):
                    raise StepStopped from failure
                with self.shared.lock:
                    step.attempts += 1
                    self._save(step, step.status)

    def _attempt(self, spec: StepSpec, step: StepRecord) -> StepResult:
        function = RUN.get(spec.type)
        if function is None:
            raise StepFailed(f"ClientError: Step type {spec.type} is not emulated by sagemaker_local (step {spec.name}).")
        arguments = resolve(spec.own_arguments, self.shared.scope)
        hit = self.shared.cache.look_up(spec, arguments, step, self.shared.execution)
        if hit is not None:
            with self.shared.lock:
                step.cache_hit, step.metadata = hit.arn, hit.step.metadata
            return StepResult(hit.step.properties)
        run = StepRun(
            self.shared.context,
            self.shared.execution,
            spec,
            self.shared.scope,
            arguments,
            self._reporter(step),
            self._run_nested,
            self.shared.stopping,
        )
        with self.shared.lock:
            self._active[spec.name] = run
            if self.shared.stopping.is_set():
                raise StepStopped
        try:
            return function(run)
        finally:
            with self.shared.lock:
                run.on_stop.clear()  # they hold the run that holds them

    def _reporter(self, step: StepRecord) -> Callable[[dict[str, Any]], None]:
        def report(metadata: dict[str, Any]) -> None:
            with self.shared.lock:
                previous, step.metadata = step.status, metadata
                if step.status == "Starting":
                    step.status = "Executing"
                self._save(step, previous)

        return report

    def _run_nested(
        self, graph: Graph, limit: int, iterations: Mapping[str, dict[str, Any]]
    ) -> tuple[dict[str, StepEnding], dict[str, Any]]:
        """Run the steps of a graph inside a step. Those that succeeded before this execution was retried are not run again."""
        shared = self.shared
        with shared.lock:
            shared.specs.update(graph.steps)
            before = [name for name in graph.steps if name in shared.steps and shared.steps[name].status == "Succeeded"]
        inner = Scheduler(shared, graph, lambda: limit, dict.fromkeys(before, StepEnding.SUCCEEDED), iterations)
        with shared.lock:
            self._inner.append(inner)
        inner.run()
        with shared.lock:
            self._inner.remove(inner)
        ended = {name: inner.endings.get(name, StepEnding.STOPPED) for name in graph.steps}
        return ended, {name: shared.steps[name].properties for name, end in ended.items() if end is StepEnding.SUCCEEDED}

    def _save(self, step: StepRecord, previous: str | None) -> None:
        self.shared.records.save_step(self.shared.execution.arn, step)
        if previous != step.status:
            announcements.step_changed(self.shared.context, self.shared.execution, step, previous)
