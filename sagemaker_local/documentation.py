"""Makes ``docs/sagemaker_local.md`` from the code: ``python -m sagemaker_local.documentation FILE`` writes it."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_local import images, limits
from sagemaker_local.api import dispatch, unsupported, validation
from sagemaker_local.cloudwatch import refusals
from sagemaker_local.events import schedules
from sagemaker_local.hosting import autoscaling_refusals
from sagemaker_local.identity import call_log
from sagemaker_local.pipelines.definitions.model import STEP_TYPES
from sagemaker_local.pipelines.steps import RUN
from sagemaker_local.service_models import service_model

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTRODUCTION = """\
<!-- Made by `python -m sagemaker_local.documentation docs/sagemaker_local.md`; a test compares. Change the code instead. -->
# sagemaker_local: a SageMaker on this machine

Pipelines, processing, training and transform jobs, endpoints with their updates and scaling, and the Model Registry: behind one HTTP port
that boto3, the AWS CLI, the SageMaker SDK and the OpenAI SDK talk to as to AWS. No account, no Docker: a file says which command on this
machine stands for a container image. What is not emulated is refused by name, never ignored; the tables are below.

## In three minutes

```
echo 'images: [{match: "*", command: ["{python}"]}]' > images.yaml      # every image is this Python
python -m sagemaker_local --port 4566 --images images.yaml
```

prints `AWS_ENDPOINT_URL=http://127.0.0.1:4566` when it is ready. In another shell:

```
export AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
python first.py
```

`first.py`, a pipeline of one step:

```python
import json, time, boto3

code = "import pathlib; pathlib.Path('/opt/ml/processing/out/hello.txt').write_text('hello')"
output = {"S3Uri": "s3://mine/out", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
step = {
    "Name": "Hello",
    "Type": "Processing",
    "Arguments": {
        "AppSpecification": {"ImageUri": "any/image:1", "ContainerEntrypoint": ["python", "-c", code]},
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": output}]},
        "RoleArn": "arn:aws:iam::123456789012:role/any",
    },
}
sagemaker, s3 = boto3.client("sagemaker"), boto3.client("s3")
s3.create_bucket(Bucket="mine")
sagemaker.create_pipeline(
    PipelineName="first",
    PipelineDefinition=json.dumps({"Version": "2020-12-01", "Steps": [step]}),
    RoleArn="arn:aws:iam::123456789012:role/any",
)
execution = sagemaker.start_pipeline_execution(PipelineName="first")["PipelineExecutionArn"]
while sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)["PipelineExecutionStatus"] == "Executing":
    time.sleep(0.2)
for step in sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution)["PipelineExecutionSteps"]:
    print(step["StepName"], step["StepStatus"], step.get("FailureReason", ""))
print(s3.get_object(Bucket="mine", Key="out/hello.txt")["Body"].read().decode())
```

A definition of the SageMaker SDK runs as it is. But the SDK sends some calls to AWS's own address, so it gets a session that does not:

```python
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker_local.session import Session

session = PipelineSession(boto_session=Session())  # talks to $AWS_ENDPOINT_URL, whatever address the SDK names
```

and `SAGEMAKER_VALIDATE_ROLE=false` in the environment, since a role's permissions are not simulated. An image with AWS's training toolkit
(script mode) is `command: ["{python}", "-m", "sagemaker_local.jobs.training.script"]` in the images file.

State and logs are in the folder that `--state` names (`.sagemaker_local`), which only you can read, and survive a restart; a server
that is killed comes back as it was half a second before, and what ran is recorded as failed. What a container wrote is in `logs/`
there, and in CloudWatch Logs under the groups' usual names (`/aws/sagemaker/ProcessingJobs`, ...); the server's own log is
`sagemaker_local.log`. Two servers with a folder each do not touch one another. In tests: `sagemaker_local.testing.running(DIR)` (a
context manager) and `sagemaker_local.testing.server_fixture()` (a pytest fixture).

Steps that run: {steps}.
An execution that reaches a step of another type fails there, by its name: {other_steps}.

## What is different from AWS

Nothing here checks who calls: signatures, roles and policies are not evaluated, and an OpenAI client may send any bearer token (one
that the SageMaker SDK made is refused once it has expired). But pages in a browser are refused, since whoever reaches this server runs
programs as you: what has an `Origin` or a `Referer`, is a preflight, or says by `Sec-Fetch-Site` or `User-Agent` that a page sent it;
and so is every `Host` but 127.0.0.1, localhost (a bucket's `BUCKET.localhost` too), [::1], the address of `--host` and the names of
`--allowed-host` (`host.docker.internal`, say, for clients in containers). A container's own port is the container's matter. Who calls
is known: a container has temporary credentials of its role, and an account that `sts:AssumeRole` leads to keeps its resources apart
from the default account's (123456789012). VPC, KMS and network isolation settings are kept and returned; network isolation takes the
AWS endpoint and credentials away from a container, and nothing else. Debugger's and the profiler's configurations, experiments, spot
instances and a training job's RetryStrategy are kept and nothing acts on them. Instance types are names, unless the images file says
how many there are.

Where the service does not say how it decides, this is what happens here: PREFIX_AWARE sends equal beginnings of requests (512
bytes) to the same instance; KV_AWARE sends a request to the instance that has seen the longest part of it; both give way to the least
busy instance. Target tracking scales to `instances * metric / target`. A model of a version that is not approved is refused when
it is created. A container gets the requests of the OpenAI path at `/v1/chat/completions`. Data capture is of streams too, with the
whole answer. A container sees its own folder as `/opt/ml` where the machine has mount namespaces; elsewhere the `/opt/ml` paths in its
command and environment are pointed at it.

Detailed observability (MetricsConfig; on by default, every 60 seconds) scrapes the Prometheus page of each container, `/metrics` on its
port, from its first second in service on; an account's OTel enrichment is always on. CloudWatch's PromQL API has `/api/v1/query_range`,
with a selector of one metric by its name and labels equal to something, by itself or in `avg_over_time`, `last_over_time`,
`max_over_time` or `min_over_time` of seconds, and `or` between these. Three hours are kept, until the server ends.

## The images file

What a container image means on this machine, and what this machine plays to be:

```yaml
{images}
```

{placeholders}

`limits` has these names; each is the service's own by default, and a request's own timeout counts where it is lower:

| Limit | Default | What it is |
| --- | --- | --- |
{limits}

## The record of calls: `DIR/calls.jsonl`

{calls}
"""

_MOTO_GAPS = (
    "s3/front", "s3/writes", "s3/objects", "events/rules", "events/schedules", "cloudwatch/alarms", "cloudwatch/composite_alarms",
    "cloudwatch/refusals", "hosting/autoscaling", "hosting/autoscaling_refusals", "logs/log_store", "registry/packages", "lambdas/functions",
    "state/snapshot",
)  # fmt: skip
_REFUSED_OF_MOTO = (*refusals.NOT_EMULATED, *autoscaling_refusals.NOT_EMULATED, *schedules.NOT_EMULATED)
_ERROR = "`NotImplemented` (HTTP 501, which AWS's SDKs do not retry)"


def page() -> str:
    """Return the whole page, as Markdown."""
    own = sorted(dispatch.table())
    delegated = sorted(name for name in unsupported.DELEGATED if validation.known_action(name))
    refused = sorted(set(service_model("sagemaker").operation_names) - set(own) - set(delegated))
    return "\n".join(
        [
            _introduction(),
            f"## Actions answered here ({len(own)})\n",
            _names(own),
            f"\n## Actions answered by moto: records without behaviour ({len(delegated)})\n",
            _names(delegated),
            "\n## Where moto is not used as it is: a module for each gap, which says what AWS does and where that is written\n",
            "| Module | What it is |",
            "| --- | --- |",
            *_gaps(),
            f"\n## Members refused by name with {_ERROR}\n",
            "| Action | Member |",
            "| --- | --- |",
            *(f"| {action} | `{member}` |" for action, members in unsupported.MEMBERS.items() for member in members),
            "\nBeside these, with these messages:\n",
            *(f"- {message}" for message in sorted([*_messages(), *_REFUSED_OF_MOTO])),
            f"\n## Actions refused by name with {_ERROR} ({len(refused)})\n",
            _names(refused),
            "",
        ]
    )


def _introduction() -> str:
    """Return the page's beginning, with what other modules' docstrings say of themselves."""
    example, _, placeholders = (images.__doc__ or "").partition("::\n\n")[2].partition("\n\n")
    _, _, calls_text = (call_log.__doc__ or "").partition("\n\n")
    return (
        _INTRODUCTION.replace("{images}", textwrap.dedent(example))
        .replace("{placeholders}", placeholders.strip().replace("``", "`"))
        .replace("{limits}", "\n".join(_limits()))
        .replace("{steps}", ", ".join(sorted(RUN)))
        .replace("{other_steps}", ", ".join(sorted(STEP_TYPES - RUN.keys())))
        .replace("{calls}", calls_text.strip().replace("``", "`"))
    )


def _gaps() -> Iterator[str]:
    """Yield a row for each module that corrects moto, or takes its place."""
    for name in _MOTO_GAPS:
        text = ast.get_docstring(ast.parse((Path(__file__).parent / f"{name}.py").read_text())) or ""
        yield f"| `sagemaker_local/{name}.py` | {' '.join(text.partition(chr(10) * 2)[0].split()).replace('``', '`')} |"


def _limits() -> Iterator[str]:
    """Yield a row for each limit: the docstring below its field says what it is."""
    (definition,) = [node for node in ast.walk(ast.parse(inspect.getsource(limits.Limits))) if isinstance(node, ast.ClassDef)]
    for field, text in pairwise(definition.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            name = ast.unparse(field.target)
            default = getattr(limits.Limits(), name)
            shown = "none" if default == float("inf") else f"{default:g}" if isinstance(default, float) else f"{default:,}"
            yield f"| `{name}` | {shown} | {' '.join(str(text.value.value).split()).replace('``', '`')} |"


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _messages() -> list[str]:
    """Return the text of every NotImplementedHere that the code raises, with what is filled in shown in braces."""
    found = set()
    for file in Path(__file__).parent.rglob("*.py"):
        if file.name in ("errors.py", "unsupported.py", "bridge.py", "wsgi.py", "actions.py", "dispatch.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "NotImplementedHere"
                and node.args
            ):
                found.add(_text(node.args[0]))
    return sorted(found)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value).split("[")[0] + "}"
    return ast.unparse(node)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
