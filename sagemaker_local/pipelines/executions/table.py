"""All pipeline executions of one server: started, stopped, retried, and found again after a restart."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ConflictError, ResourceNotFound
from sagemaker_local.pipelines.definitions.functions import as_text, resolve
from sagemaker_local.pipelines.definitions.parameters import resolve_parameters
from sagemaker_local.pipelines.executions import announcements
from sagemaker_local.pipelines.executions.caching import Cache
from sagemaker_local.pipelines.executions.runner import Runner
from sagemaker_local.pipelines.executions.scope import make_scope
from sagemaker_local.pipelines.executions.selection import select
from sagemaker_local.pipelines.records import TERMINAL, ExecutionRecord, ExecutionRecords, StepRecord, random_word
from sagemaker_local.pipelines.table import Pipelines, check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_local.context import Context

_TOKEN_KIND = "pipeline-request-token"  # noqa: S105 (a kind of record, not a secret)
_INTERRUPTED = "InternalServerError: sagemaker_local was stopped while the step ran."


@dataclass
class Executions:
    """Starts, stops and retries executions; knows those that run."""

    context: Context
    _running: dict[str, Runner] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.pipelines = Pipelines(self.context)
        self.records = ExecutionRecords(self.context.store)
        self.cache = Cache(self.context.store)
        self.context.closers.append(self._close)
        for execution in self.records.running():
            self._fail_interrupted(execution)

    def start(self, region: str, account_id: str, request: dict[str, Any], tags: list[dict[str, str]]) -> str:
        """Start an execution; returns its ARN. The same ClientRequestToken again returns the same ARN.

        Raises:
            ResourceNotFound: no such pipeline or version.
            ValidationError: the parameters do not fit the definition.
            ConflictError: the token was used for a different request.
        """
        with self._lock:
            known = self._by_token("Start", region, request)
            if known is not None:
                return known
            pipeline = self.pipelines.get(region, request["PipelineName"])
            version = self.pipelines.version(region, pipeline, request.get("PipelineVersionId"))
            definition, graph = check(version["Definition"])
            parameters = resolve_parameters(definition.parameters, request.get("PipelineParameters") or [])
            execution = _new_execution(region, account_id, pipeline, version, request, tags)
            scope = make_scope(self.context, execution, parameters, definition.steps, {})
            execution.experiment_config = resolve(definition.experiment_config, scope)
            settled: dict[str, StepRecord] = {}
            left_out: frozenset[str] = frozenset()
            if execution.selective is not None:
                settled, left_out = select(self.records, execution, definition, graph)
            self.records.begin(execution, version["Definition"])
            self._keep_token("Start", region, request, execution.arn)
            for step in settled.values():
                self.records.save_step(execution.arn, step)
            self.pipelines.ran(region, execution.pipeline_name)
            last = {"LastExecutionPipelineExecutionArn": execution.arn}
            self.pipelines.update_version(region, pipeline, version["PipelineVersionId"], last)
            runner = Runner(self.context, self.records, execution, definition, graph, parameters, self.cache, settled, left_out)
            self._running[execution.arn] = runner  # from now on its pipeline cannot be deleted
        announcements.execution_changed(self.context, execution, None)
        self._run(runner)
        return execution.arn

    def stop(self, region: str, request: dict[str, Any]) -> str:
        """Stop an execution: Stopping now, Stopped when its running steps have ended; returns its ARN.

        Raises:
            ResourceNotFound: no such execution.
            ConflictError: it has already ended.
        """
        arn = str(request["PipelineExecutionArn"])
        execution = self.get(arn)
        known = self._by_token("Stop", region, request)
        if known is not None:
            return known
        with self._lock:
            runner = self._running.get(arn)
        if runner is None or execution.status in TERMINAL:
            raise ConflictError(f"Pipeline execution with ARN {arn} is already in terminal state: {execution.status}.")
        self._keep_token("Stop", region, request, arn)
        runner.stop()
        return arn

    def retry(self, region: str, request: dict[str, Any]) -> str:
        """Run a failed or stopped execution again from the steps that did not succeed; returns its ARN, which stays.

        Raises:
            ResourceNotFound: no such execution.
            ConflictError: it runs, or it succeeded.
        """
        arn = str(request["PipelineExecutionArn"])
        with self._lock:
            execution = self.get(arn)
            known = self._by_token("Retry", region, request)
            if known is not None:
                return known
            if execution.status not in ("Failed", "Stopped", "CompletedWithFailures"):
                raise ConflictError(f"Only failed or stopped pipeline executions can be retried: {arn} is {execution.status}.")
            self._keep_token("Retry", region, request, arn)
            text = self.records.definition(arn)
            parallelism = request.get("ParallelismConfiguration")
            if parallelism:
                execution.max_parallel_steps = parallelism["MaxParallelExecutionSteps"]
            previous, execution.status = execution.status, "Executing"
            execution.failure_reason, execution.ended, execution.modified = "", None, time.time()
            self.records.begin(execution, text)
        definition, graph = check(text)
        parameters = resolve_parameters(definition.parameters, execution.parameters)
        settled = {}
        for step in self.records.steps(arn):
            if step.status == "Succeeded":
                settled[step.name] = step
            else:
                self.records.forget_step(arn, step.name)
        announcements.execution_changed(self.context, execution, previous)
        left_out: frozenset[str] = frozenset()
        if execution.selective is not None:
            _, left_out = select(self.records, execution, definition, graph)
        self._run(Runner(self.context, self.records, execution, definition, graph, parameters, self.cache, settled, left_out))
        return arn

    def get(self, arn: str) -> ExecutionRecord:
        """Return the execution with this ARN.

        Raises:
            ResourceNotFound: there is none.
        """
        execution = self.records.get(arn)
        if execution is None:
            raise ResourceNotFound(f"Pipeline execution with ARN {arn} does not exist.")
        return execution

    def parameters(self, arn: str) -> list[dict[str, str]]:
        """ListPipelineParametersForExecution: every parameter's value, defaults too, as text.

        The output in the notebook sm-pipelines_selective_execution of aws/amazon-sagemaker-examples; the SDK's
        ``build_parameters_from_execution`` refuses overrides of parameters that are not in it.

        Raises:
            ResourceNotFound: no such execution.
        """
        given = self.get(arn).parameters
        texts = {entry["Name"]: entry["Value"] for entry in given}
        declared = check(self.records.definition(arn))[0].parameters
        values = resolve_parameters(declared, given)
        return [{"Name": name, "Value": texts.get(name, as_text(value))} for name, value in values.items()]

    def update(self, request: dict[str, Any]) -> str:
        """UpdatePipelineExecution: display name, description, parallelism; returns the ARN."""
        arn = str(request["PipelineExecutionArn"])
        with self._lock:
            runner = self._running.get(arn)
        execution = runner.execution if runner is not None else self.get(arn)
        execution.display_name = request.get("PipelineExecutionDisplayName", execution.display_name)
        execution.description = request.get("PipelineExecutionDescription", execution.description)
        if "ParallelismConfiguration" in request:
            execution.max_parallel_steps = request["ParallelismConfiguration"]["MaxParallelExecutionSteps"]
        execution.modified = time.time()
        self.records.save(execution)
        return arn

    def delete_pipeline(self, region: str, name: str) -> str:
        """Delete a pipeline and its executions; returns its ARN.

        Raises:
            ConflictError: an execution of it runs.
        """
        with self._lock:
            pipeline = self.pipelines.get(region, name)
            prefix = pipeline["PipelineArn"] + "/"
            if any(arn.startswith(prefix) for arn in self._running):
                raise ConflictError(
                    f"Pipeline {pipeline['PipelineArn']} has running executions: stop them before deleting the pipeline."
                )
            self.records.forget_pipeline(region, pipeline["PipelineName"])
            self.cache.forget(region, pipeline["PipelineName"])
            return self.pipelines.delete(region, pipeline["PipelineName"])

    def _run(self, runner: Runner) -> None:
        arn = runner.execution.arn

        def run() -> None:
            try:
                runner.run()
            finally:
                with self._lock:
                    if self._running.get(arn) is runner:  # else it was retried as soon as it had ended
                        del self._running[arn]

        with self._lock:
            self._running[arn] = runner
        threading.Thread(target=run, name=f"execution {runner.execution.id}", daemon=True).start()

    def _close(self) -> None:
        """Interrupt what runs, as the server stops; it is recorded as interrupted at the next start."""
        with self._lock:
            for runner in self._running.values():
                runner.interrupt()

    def _fail_interrupted(self, execution: ExecutionRecord) -> None:
        """End an execution whose processes died with the server that ran it."""
        now = time.time()
        for step in self.records.steps(execution.arn):
            if step.status not in TERMINAL:
                step.status, step.end_time, step.failure_reason = "Failed", now, _INTERRUPTED
                self.records.save_step(execution.arn, step)
        execution.status, execution.ended, execution.modified = "Failed", now, now
        execution.failure_reason = "sagemaker_local was stopped while the execution ran: retry it with RetryPipelineExecution."
        self.records.end(execution)

    def _by_token(self, action: str, region: str, request: dict[str, Any]) -> str | None:
        entry = self.context.store.get(_TOKEN_KIND, f"{region}/{action}/{request['ClientRequestToken']}")
        if entry is None:
            return None
        if entry["request"] != _digest(request):
            raise ConflictError("The ClientRequestToken was already used for a different request.")
        return str(entry["arn"])

    def _keep_token(self, action: str, region: str, request: dict[str, Any], arn: str) -> None:
        entry = {"arn": arn, "request": _digest(request)}
        self.context.store.put(_TOKEN_KIND, f"{region}/{action}/{request['ClientRequestToken']}", entry)


def _new_execution(
    region: str,
    account_id: str,
    pipeline: Mapping[str, Any],
    version: Mapping[str, Any],
    request: Mapping[str, Any],
    tags: list[dict[str, str]],
) -> ExecutionRecord:
    parallelism = request.get("ParallelismConfiguration") or pipeline.get("ParallelismConfiguration") or {}
    return ExecutionRecord(
        region=region,
        account_id=account_id,
        pipeline_name=pipeline["PipelineName"],
        id=random_word(12),
        display_name=request.get("PipelineExecutionDisplayName", f"execution-{int(time.time() * 1000)}"),
        description=request.get("PipelineExecutionDescription", ""),
        role_arn=request.get("RoleArn", pipeline["RoleArn"]),
        parameters=list(request.get("PipelineParameters") or []),
        max_parallel_steps=parallelism.get("MaxParallelExecutionSteps"),
        selective=request.get("SelectiveExecutionConfig"),
        version_id=version["PipelineVersionId"],
        tags=tags,
    )


def _digest(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()
