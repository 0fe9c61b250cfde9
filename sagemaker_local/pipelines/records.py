"""What is remembered of pipeline executions and their steps, and how the API shows it."""

from __future__ import annotations

import secrets
import string
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagemaker_local.state.store import Store

_EXECUTION_KIND = "pipeline-execution"
_DEFINITION_KIND = "pipeline-execution-definition"
_STEP_KIND = "pipeline-execution-step"
_RUNNING_KIND = "pipeline-execution-running"

TERMINAL = frozenset({"Succeeded", "Failed", "Stopped", "CompletedWithFailures"})


@dataclass
class StepRecord:
    """One step of an execution, from the moment it starts. Times are epoch seconds."""

    name: str
    type: str
    order: int
    """Its place among the steps of its execution, by start."""
    start_time: float
    status: str = "Starting"
    display_name: str = ""
    description: str = ""
    end_time: float | None = None
    failure_reason: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    attempts: int = 1
    properties: Any = None
    """What ``Steps.NAME…`` refers to."""
    cache_key: str = ""
    cache_hit: str = ""
    """The execution whose result was taken instead of running the step."""
    iteration: dict[str, Any] = field(default_factory=dict)
    """The IterationContext of a child of a ForEach step."""
    selected_from: str = ""
    """The source execution of a selective execution whose result stands for this step."""

    def shown(self) -> dict[str, Any]:
        """Return the step as ListPipelineExecutionSteps shows it."""
        answer: dict[str, Any] = {
            "StepName": self.name,
            "StartTime": self.start_time,
            "StepStatus": self.status,
            "Metadata": self.metadata,
            "AttemptCount": self.attempts,
        }
        optional = {
            "StepDisplayName": self.display_name,
            "StepDescription": self.description,
            "EndTime": self.end_time,
            "IterationContext": self.iteration,
            "FailureReason": self.failure_reason[:1024],
            "CacheHitResult": {"SourcePipelineExecutionArn": self.cache_hit} if self.cache_hit else None,
            "SelectiveExecutionResult": {"SourcePipelineExecutionArn": self.selected_from} if self.selected_from else None,
        }
        answer.update({name: value for name, value in optional.items() if value})
        return answer


@dataclass
class ExecutionRecord:
    """One execution of a pipeline. Times are epoch seconds."""

    region: str
    account_id: str
    pipeline_name: str
    id: str
    display_name: str
    description: str = ""
    role_arn: str = ""
    parameters: list[dict[str, str]] = field(default_factory=list)
    """As given to StartPipelineExecution."""
    max_parallel_steps: int | None = None
    selective: dict[str, Any] | None = None
    """StartPipelineExecution's SelectiveExecutionConfig."""
    experiment_config: dict[str, Any] = field(default_factory=dict)
    version_id: int | None = None
    tags: list[dict[str, str]] = field(default_factory=list)
    """The pipeline's tags when the execution started: its jobs carry them too."""
    status: str = "Executing"
    failure_reason: str = ""
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)
    ended: float | None = None

    @property
    def pipeline_arn(self) -> str:
        """The ARN of the pipeline."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:pipeline/{self.pipeline_name}"

    @property
    def arn(self) -> str:
        """The ARN of this execution."""
        return f"{self.pipeline_arn}/execution/{self.id}"

    def described(self) -> dict[str, Any]:
        """DescribePipelineExecution's answer."""
        answer: dict[str, Any] = {
            "PipelineArn": self.pipeline_arn,
            "PipelineExecutionArn": self.arn,
            "PipelineExecutionDisplayName": self.display_name,
            "PipelineExecutionStatus": self.status,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "CreatedBy": {},
            "LastModifiedBy": {},
        }
        optional = {
            "PipelineExecutionDescription": self.description,
            "FailureReason": self.failure_reason,
            "RoleArn": self.role_arn,
            "PipelineExperimentConfig": self.experiment_config,
            "SelectiveExecutionConfig": self.selective,
            "PipelineVersionId": self.version_id,
        }
        if self.max_parallel_steps is not None:
            optional["ParallelismConfiguration"] = {"MaxParallelExecutionSteps": self.max_parallel_steps}
        answer.update({name: value for name, value in optional.items() if value})
        return answer

    def summary(self) -> dict[str, Any]:
        """Return the execution as ListPipelineExecutions shows it."""
        answer: dict[str, Any] = {
            "PipelineExecutionArn": self.arn,
            "StartTime": self.created,
            "PipelineExecutionStatus": self.status,
            "PipelineExecutionDisplayName": self.display_name,
        }
        if self.description:
            answer["PipelineExecutionDescription"] = self.description
        if self.failure_reason:
            answer["PipelineExecutionFailureReason"] = self.failure_reason
        return answer


@dataclass(frozen=True)
class ExecutionRecords:
    """Executions and their steps in the store."""

    store: Store

    def save(self, execution: ExecutionRecord) -> None:
        """Keep an execution as it is now; it counts as running until it has a terminal status."""
        self.store.put(_kind(_EXECUTION_KIND, execution.region, execution.pipeline_name), execution.id, asdict(execution))

    def begin(self, execution: ExecutionRecord, definition: str) -> None:
        """Keep a new (or retried) execution with the definition that it runs, and that it is running."""
        self.save(execution)
        self.store.put(_DEFINITION_KIND, execution.arn, {"text": definition})
        self.store.put(_RUNNING_KIND, execution.arn, {})

    def end(self, execution: ExecutionRecord) -> None:
        """Keep an execution that has ended."""
        self.save(execution)
        self.store.delete(_RUNNING_KIND, execution.arn)

    def running(self) -> list[ExecutionRecord]:
        """Return the executions that had not ended when they were last saved."""
        found = [self.get(arn) for arn, _ in self.store.list(_RUNNING_KIND)]
        return [execution for execution in found if execution is not None]

    def get(self, arn: str) -> ExecutionRecord | None:
        """Return the execution with this ARN, or None."""
        try:
            region = arn.split(":")[3]
            _, pipeline_name, _, execution_id = arn.split(":", 5)[5].split("/")
        except (IndexError, ValueError):
            return None
        raw = self.store.get(_kind(_EXECUTION_KIND, region, pipeline_name), execution_id)
        return ExecutionRecord(**raw) if raw is not None else None

    def definition(self, arn: str) -> str:
        """Return the text of the definition that an execution runs."""
        return str(self.store.get(_DEFINITION_KIND, arn)["text"])

    def of_pipeline(self, region: str, pipeline_name: str) -> list[ExecutionRecord]:
        """Return all executions of a pipeline, newest first."""
        entries = self.store.list(_kind(_EXECUTION_KIND, region, pipeline_name))
        return sorted((ExecutionRecord(**raw) for _, raw in entries), key=lambda entry: entry.created, reverse=True)

    def save_step(self, arn: str, step: StepRecord) -> None:
        """Keep a step of the execution with this ARN."""
        self.store.put(f"{_STEP_KIND}/{arn}", step.name, asdict(step))

    def steps(self, arn: str) -> list[StepRecord]:
        """Return the steps of an execution that have started, in the order they did."""
        entries = self.store.list(f"{_STEP_KIND}/{arn}")
        return sorted((StepRecord(**raw) for _, raw in entries), key=lambda step: step.order)

    def forget_step(self, arn: str, name: str) -> None:
        """Drop a step, before it is run again."""
        self.store.delete(f"{_STEP_KIND}/{arn}", name)

    def forget_pipeline(self, region: str, pipeline_name: str) -> None:
        """Drop every execution of a pipeline, as DeletePipeline does."""
        for execution in self.of_pipeline(region, pipeline_name):
            for step in self.steps(execution.arn):
                self.forget_step(execution.arn, step.name)
            self.store.delete(_DEFINITION_KIND, execution.arn)
            self.store.delete(_kind(_EXECUTION_KIND, region, pipeline_name), execution.id)


def random_word(length: int) -> str:
    """Random lower-case letters and digits, as execution ids (12) and job name suffixes (10) are made of."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


def _kind(kind: str, region: str, pipeline_name: str) -> str:
    return f"{kind}/{region}/{pipeline_name}"
