"""One execution while it runs: starts steps when what they need has ended, as many at once as allowed, until none is left."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.pipelines import announcements, retries
from sagemaker_local.pipelines.functions import UnresolvedError, resolve
from sagemaker_local.pipelines.graph import Ending, Verdict
from sagemaker_local.pipelines.records import StepRecord
from sagemaker_local.pipelines.scope import make_scope
from sagemaker_local.pipelines.steps import RUN
from sagemaker_local.pipelines.steps.base import StepFailed, StepResult, StepRun, StepStopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from sagemaker_local.context import Context
    from sagemaker_local.pipelines.caching import Cache
    from sagemaker_local.pipelines.definition import Definition, StepSpec
    from sagemaker_local.pipelines.graph import Graph
    from sagemaker_local.pipelines.records import ExecutionRecord, Records

_LOGGER = logging.getLogger(__name__)
_DEFAULT_PARALLEL_STEPS = 50
FAILED_REASON = "Step failure: One or multiple steps failed."


@dataclass
class Runner:
    """Runs one execution. ``run`` blocks until it has ended; ``stop`` may be called from any thread."""

    context: Context
    records: Records
    execution: ExecutionRecord
    definition: Definition
    graph: Graph
    parameters: dict[str, Any]
    cache: Cache
    settled: dict[str, StepRecord] = field(default_factory=dict)
    """Steps that need not run because they succeeded before: in this execution (retry) or another (selective)."""
    leave_out: frozenset[str] = frozenset()
    """Steps that are not selected in a selective execution and have nothing to offer: they count as skipped."""

    def __post_init__(self) -> None:
        self._steps: dict[str, StepRecord] = dict(self.settled)
        self._endings: dict[str, Ending] = dict.fromkeys(self.settled, Ending.SUCCEEDED)
        self._endings.update(dict.fromkeys(self.leave_out, Ending.SKIPPED))
        self._outcomes: dict[str, bool] = {}
        for name, step in self.settled.items():
            if step.type == "Condition":
                self._outcomes[name] = bool(step.properties["Outcome"])
        self._active: dict[str, StepRun | None] = {}
        self._finished: queue.SimpleQueue[tuple[str, Ending, StepResult | None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._stop_requested = False
        self._interrupted = False
        self._lock = threading.RLock()
        self._scope = make_scope(self.context, self.execution, self.definition, self.parameters, self._steps)

    def run(self) -> None:
        """Run every step that is to run, then record how the execution ended."""
        try:
            while True:
                self._start_ready_steps()
                if not self._active:
                    break
                name, ending, result = self._finished.get()
                with self._lock:
                    del self._active[name]
                    self._endings[name] = ending
                    if result is not None and result.outcome is not None:
                        self._outcomes[name] = result.outcome
                if ending is Ending.FAILED and self.definition.steps[name].type == "Fail":
                    self._end_running_steps()
        finally:
            self._end()

    def stop(self) -> None:
        """Start no step any more and stop those that run (StopPipelineExecution)."""
        with self._lock:
            self._stop_requested = True
            if self.execution.status == "Executing":
                self._set_status("Stopping")
        self._end_running_steps()

    def interrupt(self) -> None:
        """The server stops: start no step any more, and record nothing of what ends now."""
        with self._lock:
            self._interrupted = True
            self._stopping.set()

    # --- choosing -------------------------------------------------------------------------------------------------

    def _start_ready_steps(self) -> None:
        limit = self.execution.max_parallel_steps or _DEFAULT_PARALLEL_STEPS
        changed = True
        while changed and not self._stopping.is_set():
            changed = False
            for name, spec in self.graph.steps.items():
                if name in self._endings or name in self._active:
                    continue
                verdict = self.graph.verdict(name, self._endings, self._outcomes)
                if verdict is Verdict.SKIP:
                    self._endings[name] = Ending.SKIPPED
                    changed = True
                elif verdict is Verdict.RUN and len(self._active) < limit:
                    self._start(spec)

    def _start(self, spec: StepSpec) -> None:
        step = StepRecord(
            spec.name,
            spec.type,
            order=len(self._steps),
            start_time=time.time(),
            display_name=spec.raw.get("DisplayName", ""),
            description=spec.raw.get("Description", ""),
        )
        with self._lock:
            self._active[spec.name] = None
            self._steps[spec.name] = step
        self._save(step, previous=None)
        threading.Thread(target=self._run_step, args=(spec, step), name=f"step {spec.name}", daemon=True).start()

    # --- one step, in its thread ----------------------------------------------------------------------------------

    def _run_step(self, spec: StepSpec, step: StepRecord) -> None:
        ending, result, reason = Ending.FAILED, None, "InternalServerError: We encountered an internal error. Please try again."
        try:
            result = self._attempts(spec, step)
            ending, reason = Ending.SUCCEEDED, ""
        except StepStopped:
            ending, reason = Ending.STOPPED, ""
        except StepFailed as failure:
            reason = failure.reason
        except UnresolvedError as error:
            reason = f"ClientError: {error}"
        except Exception:
            _LOGGER.exception("step %s of %s", spec.name, self.execution.arn)
        with self._lock:
            if self._interrupted:
                return
            previous, step.status, step.end_time, step.failure_reason = step.status, ending.value, time.time(), reason
            if result is not None:
                step.properties = result.properties
            self._save(step, previous)
            if ending is Ending.SUCCEEDED and step.cache_key:
                self.cache.remember(step, self.execution)
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
                        failure.reason += retries.not_retried(self.execution.arn, spec.name, failure.exception_type)
                    raise
                if self._stopping.wait(delay_s):
                    raise StepStopped from failure
                with self._lock:
                    step.attempts += 1
                    self._save(step, step.status)

    def _attempt(self, spec: StepSpec, step: StepRecord) -> StepResult:
        function = RUN.get(spec.type)
        if function is None:
            raise StepFailed(f"ClientError: Step type {spec.type} is not emulated by sagemaker_local (step {spec.name}).")
        arguments = spec.arguments if spec.type == "Condition" else resolve(spec.arguments, self._scope)
        hit = self.cache.look_up(spec, arguments, step, self.execution)
        if hit is not None:
            with self._lock:
                step.cache_hit, step.metadata = hit.arn, hit.step.metadata
            return StepResult(hit.step.properties)
        run = StepRun(self.context, self.execution, spec, self._scope, arguments, self._reporter(step), self._stopping)
        with self._lock:
            self._active[spec.name] = run
            if self._stopping.is_set():
                raise StepStopped
        return function(run)

    def _reporter(self, step: StepRecord) -> Callable[[dict[str, Any]], None]:
        def report(metadata: dict[str, Any]) -> None:
            with self._lock:
                previous, step.metadata = step.status, metadata
                if step.status == "Starting":
                    step.status = "Executing"
                self._save(step, previous)

        return report

    # --- ending ---------------------------------------------------------------------------------------------------

    def _end_running_steps(self) -> None:
        """Start no more steps, and stop the running ones."""
        self._stopping.set()
        with self._lock:
            for name, run in self._active.items():
                step = self._steps[name]
                if step.status in ("Starting", "Executing"):
                    previous, step.status = step.status, "Stopping"
                    self._save(step, previous)
                for stop in run.on_stop if run is not None else ():
                    threading.Thread(target=_quietly, args=(stop,), name=f"stop {name}", daemon=True).start()

    def _end(self) -> None:
        with self._lock:
            if self._interrupted:
                return
            failed = [name for name, ending in self._endings.items() if ending is Ending.FAILED]
            unhandled = [name for name in failed if not self.graph.failure_is_handled(name, self._endings)]
            stopped = any(ending is Ending.STOPPED for ending in self._endings.values())
            self.execution.ended = time.time()
            if self._stop_requested:
                self._set_status("Stopped")
            elif unhandled or (len(self._endings) < len(self.definition.steps) and not stopped):
                self._set_status("Failed", FAILED_REASON)
            elif failed:
                self._set_status("CompletedWithFailures")
            else:
                self._set_status("Stopped" if stopped else "Succeeded")

    def _set_status(self, status: str, reason: str = "") -> None:
        previous, self.execution.status = self.execution.status, status
        self.execution.failure_reason, self.execution.modified = reason, time.time()
        if self.execution.ended is None:
            self.records.save(self.execution)
        else:
            self.records.end(self.execution)
        announcements.execution_changed(self.context, self.execution, previous)

    def _save(self, step: StepRecord, previous: str | None) -> None:
        self.records.save_step(self.execution.arn, step)
        if previous != step.status:
            announcements.step_changed(self.context, self.execution, step, previous)


def _quietly(stop: Callable[[], None]) -> None:
    """Call a stop function; what it stops may have ended by itself, which is as good."""
    try:
        stop()
    except Exception:
        _LOGGER.info("nothing left to stop", exc_info=True)
