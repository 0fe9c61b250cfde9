"""`release`: send a model's pipeline to SageMaker, start it, and follow it to its end."""

from __future__ import annotations

import json
import logging
import sys

from config.schema import Release
from delivery.names import RELEASE_STEPS
from pipelines.checks import preflight
from pipelines.errors import ExecutionError
from pipelines.executions import following, sending
from pipelines.executions.execution import Executions, ExecutionView
from pipelines.executions.release_result import release_result
from pipelines.next_command import command
from pipelines.planning.observed_state import ObservedState
from pipelines.planning.plan import warnings
from pipelines.resolution import resolve

_log = logging.getLogger(__name__)
_FOLLOW_INTERVAL_S = {"local": 0.3, "aws": 10.0}


def release(model: str, env: str, *, follow: bool, as_json: bool) -> None:
    """Release a model, follow it to its end and print what is in production now.

    Args:
        model: A name in config/models, or the path of a model file.
        env: A name in config/environments, or a path.
        follow: Stay until the execution is over; else print its ARN and leave it running.
        as_json: Print one JSON object to standard output, progress to standard error.

    Raises:
        ConfigError: A file is wrong, or the Hub has not what it names.
        ExecutionError: The execution failed, or the gate refused the version.
    """
    resolved = resolve(model, env)
    hub = preflight.prepare(resolved, model)
    for warning in warnings(resolved, ObservedState()):
        _log.warning(warning)
    executions = Executions(resolved.environment)
    sending.send_shared(resolved.environment, executions)
    sending.send_release(resolved, executions)
    arn = sending.start(resolved, hub, executions)
    if follow:
        follow_release(model, env, resolved, executions, arn, as_json=as_json)
    elif as_json:
        print(json.dumps({"execution": arn, "status": "Executing"}))
    else:
        print(f"{resolved.name}: execution {arn}\nfollow it: {command(env, 'follow', model)}")


def follow_release(
    model: str,
    env: str,
    resolved: Release,
    executions: Executions,
    arn: str,
    *,
    as_json: bool,
    steps: list[str] = RELEASE_STEPS,
    again: str = "",
) -> None:
    """Show the execution of a release, or of an evaluation, until it is over, then what it led to.

    Args:
        model: As it was given to the command.
        env: As it was given to the command.
        resolved: What is released.
        executions: The pipelines of its environment.
        arn: The execution's.
        as_json: Print one JSON object to standard output, progress to standard error.
        steps: Those that are shown before they start.
        again: The command line that does it once more; empty: a release.

    Raises:
        ExecutionError: It failed, the numbers decide nothing, or the gate refused the version.
    """
    progress = sys.stderr if as_json else sys.stdout
    print(f"{resolved.name}: execution {arn}", file=progress)
    interval_s = _FOLLOW_INTERVAL_S[resolved.environment.kind]
    follow_again = command(env, "follow", model)
    view = following.watch(executions, arn, steps, interval_s, progress=progress, follow_again=follow_again)
    facts, text = release_result(resolved, env, view, executions)
    if view.status != "Succeeded":
        if text and not as_json:
            print(text)
        raise ExecutionError(_failure(view, executions, again or _start_again(model, env, resolved, view)), facts)
    print(json.dumps(facts) if as_json else text)


def _start_again(model: str, env: str, resolved: Release, view: ExecutionView) -> str:
    """Write what does a release that failed once more: from the evaluation on, where a version is there; else all of it."""
    registered, whole = view.step("RegisterModel"), f"{command(env, model)}   (what was fetched already is not fetched again)"
    if registered is None or view.failed is None or view.failed.name != "EvaluateStaging":
        return whole
    number = registered.detail.removeprefix("version ")
    return f"{command(env, 'evaluate', resolved.name, number)}; where the model file must change, {whole}"


def _failure(view: ExecutionView, executions: Executions, again: str) -> str:
    """Say what the gate refused (Reject has marked the version then); else why the execution failed, and how to go on."""
    failed, rejected = view.failed, view.step("Reject")
    if failed is not None and failed.name == "NotDecided":
        return f"{failed.failure or view.failure}\nproduction is untouched"
    if failed is not None and not failed.job and rejected is not None and rejected.status == "Succeeded":
        return f"{failed.failure or view.failure}\nthe version is marked as rejected in the registry; production is untouched"
    untouched = "" if view.step("Promote") else "production is untouched; "
    return following.failure_message(view, executions, f"{untouched}when it is mended: {again}")
