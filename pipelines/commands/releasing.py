"""What `release`, `follow`, `definition`, `ask` and `local` do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from config.loader import load_environment
from config.schema import Release
from delivery.names import PROMOTION_PIPELINE, RELEASE_STEPS, pipeline_name
from pipelines.errors import ExecutionError, UsageError
from pipelines.next_command import command
from pipelines.resolution import attach, ready, resolve

if TYPE_CHECKING:
    from pipelines.executions.execution import Executions, ExecutionView

_FOLLOW_INTERVAL_S = {"local": 0.3, "aws": 10.0}


def release(model: str, env: str, *, follow: bool, as_json: bool) -> None:
    """Release a model, follow it to its end and say what is in production now."""
    from pipelines.planning.observed import Observed
    from pipelines.planning.plan import warnings

    resolved = resolve(model, env)
    hub = ready(resolved, model)
    for warning in warnings(resolved, Observed()):
        print(f"warning: {warning}", file=sys.stderr)
    arn, executions = _start(resolved, hub)
    if follow:
        _follow(model, env, resolved, executions, arn, as_json=as_json)
    else:
        _say(
            {"execution": arn, "status": "Executing"},
            f"{resolved.name}: execution {arn}\nfollow it: {command(env, 'follow', model)}",
            as_json,
        )


def follow(model: str, env: str, *, as_json: bool) -> None:
    """Follow the model's newest release to its end, or the promotion or rollback that came after it, while that is under way."""
    from pipelines.executions import following
    from pipelines.executions.execution import Executions
    from pipelines.released_model import subject
    from pipelines.status.status import executions as under_way

    resolved = resolve(model, env)
    attach(resolved.environment)
    executions = Executions(resolved.environment)
    arn = executions.newest(pipeline_name(resolved.name))
    if arn is None or executions.view(arn).is_over:
        about = subject(model, env)
        later = next((one.arn for one in under_way(about) if one.pipeline == PROMOTION_PIPELINE), None)
        if later is not None:
            following.show_promotion(about, later, as_json=as_json)
            return
    if arn is None:
        raise UsageError(f"{resolved.name} was never released here; release it: {command(env, model)}")
    _follow(model, env, resolved, executions, arn, as_json=as_json)


def _follow(model: str, env: str, resolved: Release, executions: Executions, arn: str, *, as_json: bool) -> None:
    """Show the execution until it is over, then what it led to. ExecutionError when it failed."""
    from pipelines.executions import following
    from pipelines.executions.outcome import outcome

    progress = sys.stderr if as_json else sys.stdout
    print(f"{resolved.name}: execution {arn}", file=progress)
    interval_s = _FOLLOW_INTERVAL_S[resolved.environment.kind]
    again = command(env, "follow", model)
    view = following.watch(executions, arn, RELEASE_STEPS, interval_s, progress=progress, follow_again=again)
    facts, text = outcome(resolved, env, view, executions)
    if view.status != "Succeeded":
        if text and not as_json:
            print(text)
        raise ExecutionError(_failure(model, env, view, executions), facts)
    _say(facts, text, as_json)


def definition(model: str, env: str) -> None:
    """Print the definition, indented; nothing is sent anywhere."""
    resolved = resolve(model, env)  # before the SageMaker SDK is imported: a mistake in the file does not wait for it
    from pipelines.definitions import release as release_pipeline

    built = release_pipeline.build(resolved).definition()
    print(json.dumps(json.loads(built), indent=2))


def ask(model: str, env: str, question: str, max_tokens: int) -> None:
    """Print the production endpoint's answer as it comes."""
    resolved = resolve(model, env)
    attach(resolved.environment)
    from pipelines.commands.question import answer

    for piece in answer(resolved.model.production.endpoint, resolved.environment.region, question, max_tokens):
        print(piece, end="", flush=True)
    print()


def local_up() -> None:
    """Start the local services and print how to reach them."""
    from pipelines.setup import local

    stack = local.up(load_environment("local"))
    print(
        f"export AWS_ENDPOINT_URL={stack.sagemaker.url} AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1"
    )
    print(f"export HF_ENDPOINT={stack.hub.url}")


def local_down() -> None:
    """Stop the local services."""
    from pipelines.setup import local

    stopped = local.down()
    print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


def _start(resolved: Release, hub: str) -> tuple[str, Executions]:
    from pipelines.executions import sending
    from pipelines.executions.execution import Executions

    executions = Executions(resolved.environment)
    sending.send_shared(resolved.environment, executions)
    sending.send_release(resolved, executions)
    return sending.start(resolved, hub, executions), executions


def _failure(model: str, env: str, view: ExecutionView, executions: Executions) -> str:
    """What the gate refused (Reject has marked the version then); else why the execution failed, and how to go on."""
    from pipelines.executions import following

    failed, rejected = view.failed, view.step("Reject")
    if failed is not None and not failed.job and rejected is not None and rejected.status == "Succeeded":
        return f"{failed.failure or view.failure}\nthe version is marked as rejected in the registry; production is untouched"
    untouched = "" if view.step("Promote") else "production is untouched; "
    again = f"{untouched}when it is mended: {command(env, model)}   (what was fetched already is not fetched again)"
    return following.failure(view, executions, again)


def _say(facts: dict[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps(facts) if as_json else text)
