"""Where the expressions of a running execution get their values from."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import UnresolvedError
from sagemaker_local.jobs.fetch import split_uri
from sagemaker_local.pipelines.definitions.functions import ExpressionScope
from sagemaker_local.pipelines.definitions.model import JOB_NAME, JOB_NAMES
from sagemaker_local.timestamps import iso_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_local.context import Context
    from sagemaker_local.pipelines.definitions.model import StepSpec
    from sagemaker_local.pipelines.records import ExecutionRecord, StepRecord


def make_scope(
    context: Context,
    execution: ExecutionRecord,
    parameters: Mapping[str, Any],
    specs: Mapping[str, StepSpec],
    steps: Mapping[str, StepRecord],
) -> ExpressionScope:
    """Return the scope of an execution. ``specs`` and ``steps`` may grow afterwards: they are read when a value is asked for."""
    source = _ValueSource(context, execution, specs, steps)
    return ExpressionScope(parameters, source.variable, source.properties, source.property_file, source.read_json)


class _ValueSource:
    def __init__(
        self,
        context: Context,
        execution: ExecutionRecord,
        specs: Mapping[str, StepSpec],
        steps: Mapping[str, StepRecord],
    ) -> None:
        self._context = context
        self._execution = execution
        self._specs = specs
        self._steps = steps

    def variable(self, name: str) -> str:
        execution = self._execution
        values = {
            "PipelineName": execution.pipeline_name,
            "PipelineArn": execution.pipeline_arn,
            "PipelineExecutionId": execution.id,
            "PipelineExecutionArn": execution.arn,
            "StartDateTime": iso_ms(execution.created),
            "CurrentDateTime": iso_ms(time.time()),
            **dict.fromkeys(JOB_NAMES, JOB_NAME),
        }
        if name not in values:
            raise UnresolvedError(f"Execution.{name} is undefined: known are {', '.join(values)}.")
        return values[name]

    def properties(self, name: str) -> Any:
        step = self._steps.get(name)
        if step is None or step.properties is None:
            raise UnresolvedError(f"Steps.{name} is undefined: the step has not succeeded.")
        return step.properties

    def property_file(self, step_name: str, file_name: str) -> Any:
        """Return a property file's JSON, read from where the step's output was uploaded to."""
        declared = self._specs[step_name].property_files[file_name]
        outputs = (self.properties(step_name).get("ProcessingOutputConfig") or {}).get("Outputs") or []
        for output in outputs:
            if output["OutputName"] == declared["OutputName"]:
                return self.read_json(f"{output['S3Output']['S3Uri'].rstrip('/')}/{declared['FilePath']}")
        raise UnresolvedError(f"Property file {file_name}: step {step_name} has no output {declared['OutputName']!r}.")

    def read_json(self, uri: str) -> Any:
        bucket, key = split_uri(uri)
        s3 = self._context.client("s3", self._execution.region, self._execution.role_arn)
        try:
            return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except s3.exceptions.ClientError as error:
            raise UnresolvedError(f"Received an error while reading file {uri} from S3: {error}") from error
        except ValueError as error:
            raise UnresolvedError(f"Contents of file {uri} are not in valid JSON format: {error}") from error
