"""One execution while it runs: its steps, its status, and how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.pipelines.definitions.graph import StepEnding
from sagemaker_local.pipelines.executions import announcements
from sagemaker_local.pipelines.executions.scheduler import ExecutionState, Scheduler
from sagemaker_local.pipelines.executions.scope import make_scope

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.pipelines.definitions.graph import Graph
    from sagemaker_local.pipelines.definitions.model import Definition
    from sagemaker_local.pipelines.executions.caching import Cache
    from sagemaker_local.pipelines.records import ExecutionRecord, ExecutionRecords, StepRecord

_DEFAULT_PARALLEL_STEPS = 50
FAILED_REASON = "Step failure: One or multiple steps failed."


@dataclass
class Runner:
    """Runs one execution. ``run`` blocks until it has ended; ``stop`` may be called from any thread."""

    context: Context
    records: ExecutionRecords
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
        specs, steps = dict(self.graph.steps), dict(self.settled)
        scope = make_scope(self.context, self.execution, self.parameters, specs, steps)
        self._shared = ExecutionState(self.context, self.records, self.execution, scope, self.cache, specs, steps)
        endings = dict.fromkeys(self.leave_out, StepEnding.SKIPPED)
        endings.update({name: StepEnding.SUCCEEDED for name in self.settled if name in self.graph.steps})
        execution = self.execution  # and not self: this would be a cycle, which waits for the garbage collector with all it holds
        self._scheduler = Scheduler(
            self._shared, self.graph, lambda: execution.max_parallel_steps or _DEFAULT_PARALLEL_STEPS, endings
        )
        self._stop_requested = False

    def run(self) -> None:
        """Run every step that is to run, then record how the execution ended."""
        try:
            self._scheduler.run()
        finally:
            self._end()

    def stop(self) -> None:
        """Start no step any more and stop those that run (StopPipelineExecution)."""
        with self._shared.lock:
            self._stop_requested = True
            if self.execution.status == "Executing":
                self._set_status("Stopping")
        self._scheduler.end_running_steps()

    def interrupt(self) -> None:
        """Start no step any more and record nothing of what ends now, as the server stops."""
        with self._shared.lock:
            self._shared.interrupted = True
            self._shared.stopping.set()

    def _end(self) -> None:
        endings = self._scheduler.endings
        with self._shared.lock:
            if self._shared.interrupted:
                return
            failed = [name for name, ending in endings.items() if ending is StepEnding.FAILED]
            unhandled = [name for name in failed if not self.graph.failure_is_handled(name, endings)]
            stopped = any(ending is StepEnding.STOPPED for ending in endings.values())
            self.execution.ended = time.time()
            if self._stop_requested:
                self._set_status("Stopped")
            elif unhandled or (len(endings) < len(self.graph.steps) and not stopped):
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
