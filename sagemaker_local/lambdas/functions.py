"""Lambda functions that were created through moto's Lambda API, run in processes of this machine (moto itself needs Docker).

Python runtimes with a zip package; layers, images and other runtimes are refused by name.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tempfile
import time
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import FunctionError, NotImplementedHere, ResourceNotFound
from sagemaker_local.processes.table import LaunchSpec

if TYPE_CHECKING:
    from sagemaker_local.context import Context

_BOOTSTRAP = Path(__file__).with_name("_bootstrap.py")


def run_function(context: Context, region: str, name_or_arn: str, event: Any) -> Any:
    """Invoke a function and return what its handler returned (JSON).

    Raises:
        ResourceNotFound: there is no such function.
        NotImplementedHere: its runtime or package is not emulated.
        FunctionError: the handler raised, or the function's timeout passed.
    """
    function = _find(context, region, name_or_arn)
    code = _unpack(context.state_dir / "lambda", function.code_bytes)
    with tempfile.TemporaryDirectory(prefix="lambda-") as folder:
        event_file, result_file = Path(folder) / "event.json", Path(folder) / "result.json"
        event_file.write_text(json.dumps(event))
        argv = [sys.executable, str(_BOOTSTRAP), str(code), function.handler, str(event_file), str(result_file)]
        child = context.processes.start(_launch(context, region, function, argv, code))
        if child.wait(float(function.timeout)) is None:
            child.terminate(0.0)
            raise FunctionError("Sandbox.Timedout", f"Task timed out after {float(function.timeout):.2f} seconds")
        if not result_file.exists():
            raise FunctionError("Runtime.ExitError", f"Runtime exited with exit code {child.poll()}")
        answer = json.loads(result_file.read_text())
    if "error" in answer:
        raise FunctionError(answer["error"]["errorType"], answer["error"]["errorMessage"])
    return answer["result"]


def _find(context: Context, region: str, name_or_arn: str) -> Any:
    # deferred: loads moto's Lambda, which a server may never use
    from moto.awslambda.exceptions import UnknownFunctionException

    backend = context.moto.backend("lambda", region)
    try:
        function = backend.get_function(name_or_arn)
    except UnknownFunctionException as error:
        raise ResourceNotFound(f"Function not found: {name_or_arn}") from error
    if function.package_type != "Zip" or not str(function.run_time).startswith("python"):
        kind = function.run_time if function.package_type == "Zip" else function.package_type
        raise NotImplementedHere(f"Lambda function {function.function_name}: {kind} is not emulated, only Python in a zip.")
    if function.layers:
        raise NotImplementedHere(f"Lambda function {function.function_name}: layers are not emulated.")
    return function


def _unpack(folder: Path, package: bytes) -> Path:
    """Return the directory with a package's files; unpacked once for each content."""
    target = folder / hashlib.sha256(package).hexdigest()[:16]
    if not target.exists():
        fresh = folder / f"unpacking-{uuid.uuid4().hex}"
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            archive.extractall(fresh)
        try:
            fresh.rename(target)
        except OSError:  # another invocation was first
            shutil.rmtree(fresh)
    return target


def _launch(context: Context, region: str, function: Any, argv: list[str], code: Path) -> LaunchSpec:
    request_id = str(uuid.uuid4())
    group = f"/aws/lambda/{function.function_name}"
    stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{function.version}]{uuid.uuid4().hex}"
    variables = {
        "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
        "AWS_LAMBDA_LOG_GROUP_NAME": group,
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
        "LAMBDA_TASK_ROOT": str(code),
        "_HANDLER": function.handler,
        "_LAMBDA_FUNCTION_ARN": function.function_arn,
        "_LAMBDA_REQUEST_ID": request_id,
        "_LAMBDA_TIMEOUT_S": str(function.timeout),
    }
    return LaunchSpec(
        name=f"lambda/{function.function_name}/{request_id}",
        argv=argv,
        env=context.child_environment(
            region,
            container={**(function.environment_vars or {}), **variables},
            role_arn=function.role,
            job=function.function_arn,
        ),
        cwd=code,
        log_path=context.state_dir / "logs" / "lambda" / function.function_name / f"{request_id}.log",
        log_group=group,
        log_stream=stream,
        region=region,
    )
