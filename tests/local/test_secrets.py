"""The Hub's token, a canary, through releases that succeed and that fail: it is in the secret, and nowhere else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local_hub import Fault, LocalHub
from tests.local.conftest import Stack
from tests.support.canary import Canary
from tests.support.waiting import WHOLE_SYSTEM_S, wait_until

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

FAST = {"ttft_ms": 60, "itl_ms": 5, "output_tokens": 16}
KEPT_IN = "sagemaker/moto/secretsmanager.pickle"
"""Where the secret itself is."""


class StackWithToken(Stack):
    """A stack of a user who has the variable HF_TOKEN."""

    token = "hf_canaryQ7x2LmVd9TzR4bKp8WnYs3Fg"
    variable = token
    """What HF_TOKEN is: `local up` and each release make it the secret."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"HF_TOKEN": self.variable}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackWithToken]:
    shared = StackWithToken(tmp_path_factory.mktemp("stack"))
    shared.up()
    yield shared
    shared.run("local", "down")


@pytest.fixture
def hub(stack: StackWithToken) -> Iterator[LocalHub]:
    """A Hub that the canary opens, in place of the stack's own."""
    with LocalHub(root=stack.state / "hub", tokens=[stack.token]) as hub:
        record = stack.state / "services.json"
        services = json.loads(record.read_text())
        services["local_hub"]["url"] = hub.endpoint
        record.write_text(json.dumps(services))
        yield hub
    stack.variable = stack.token


def gated(content: dict[str, Any]) -> None:
    """A model file's change for a release that waits for nobody."""
    content["evaluation"]["load_profiles"]["short"]["duration_s"] = 0.5


def leaves_no_trace(
    stack: StackWithToken, act: Callable[[], subprocess.CompletedProcess[str]], *, in_jobs: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command, which starts jobs or may, and look for the canary everywhere; its result."""
    canary = Canary(stack.token)
    with canary.watching_processes():
        result = act()
    canary.look_at("standard output", result.stdout.encode())
    canary.look_at("standard error", result.stderr.encode())
    calls = stack.state / "sagemaker" / "calls.jsonl"
    wait_until(lambda: "GetSecretValue" in calls.read_text(), "the calls are written")
    canary.look_below(stack.state, but=[KEPT_IN])
    assert canary.seen == set()
    for wanted in ("sagemaker/calls.jsonl", "sagemaker/state.sqlite", "sagemaker/logs.sqlite"):
        assert wanted in canary.looked_at
    assert not in_jobs or any("steps.fetch_weights" in where for where in canary.looked_at if where.startswith("environment of"))
    return result


def test_a_users_own_token_is_in_nobodys_way(stack: StackWithToken) -> None:
    """HF_TOKEN is for huggingface.co; the Hub on this machine, which does not know it, serves what is public all the same."""
    file = stack.simulated_model("public", settings=FAST, change=gated)
    planned = stack.run("plan", file)
    assert planned.returncode == 0, planned.stderr
    assert stack.token not in planned.stdout + planned.stderr


def test_a_release_of_a_gated_repository_shows_its_token_nowhere(stack: StackWithToken, hub: LocalHub) -> None:
    model = stack.simulated_model("gated", settings=FAST, hub={"gated": True}, change=gated)
    result = leaves_no_trace(stack, lambda: stack.run(model, "--json"))
    assert result.returncode == 0, result.stderr
    assert [request for request in hub.requests if request.had_token and "/resolve/" in request.path]
    kept = stack.state / KEPT_IN
    assert (kept.stat().st_mode & 0o777, stack.token.encode() in kept.read_bytes()) == (0o600, True)


def test_a_failed_release_shows_its_token_nowhere(stack: StackWithToken, hub: LocalHub) -> None:
    model = stack.simulated_model("gated-corrupt", settings=FAST, hub={"gated": True}, change=gated)
    hub.faults.add(Fault("corrupt", path="test/gated-corrupt/model.safetensors", times=None, at_byte=9))
    result = leaves_no_trace(stack, lambda: stack.run(model, "--json"))
    assert (result.returncode, "FetchWeights failed" in result.stderr) == (1, True)


Arrange = Callable[[StackWithToken, LocalHub, dict[str, Any]], None]
"""Makes a release fail: `arrange(stack, hub, content of the model file)`."""


def _fault(**fault: Any) -> Arrange:
    return lambda stack, hub, content: hub.faults.add(Fault(**{"times": None, "path": "test/*", **fault}))


def _secret(text: str) -> Arrange:
    def arrange(stack: StackWithToken, hub: LocalHub, content: dict[str, Any]) -> None:
        stack.variable = text.replace("TOKEN", stack.token)

    return arrange


def _objective(stack: StackWithToken, hub: LocalHub, content: dict[str, Any]) -> None:
    content["evaluation"]["load_profiles"]["short"]["objectives"] = {"ttft_p50_ms": {"at_most": 1}}


def _wrong_answer(stack: StackWithToken, hub: LocalHub, content: dict[str, Any]) -> None:
    content["evaluation"]["prompt_checks"] = [{"prompt": "Which city is the capital of France?", "expect": "Paris"}]


def _unknown_image(stack: StackWithToken, hub: LocalHub, content: dict[str, Any]) -> None:
    content["serving"]["image"] = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nothing:here"


FAILURES: dict[str, Arrange] = {
    "the Hub answers 500": _fault(kind="status", where="hub", after=4),
    "the CDN answers 403": _fault(kind="expired", where="cdn"),
    "the CDN resets": _fault(kind="reset", where="cdn"),
    "the CDN ends early": _fault(kind="truncate", where="cdn", at_byte=3),
    "other bytes": _fault(kind="changed", where="cdn"),
    "the token is revoked": _secret("TOKEN-revoked"),
    "the secret is JSON": _secret('{"token": "TOKEN"}'),
    "the secret has two lines": _secret("TOKEN\nTOKEN"),
    "the token has a control character": _secret("TOKEN\x01"),
    "the token is not ASCII": _secret("TOKENé"),
    "an objective is missed": _objective,
    "a prompt check fails": _wrong_answer,
    "an unknown image": _unknown_image,
}


@pytest.mark.soak
@pytest.mark.parametrize("failure", FAILURES)
def test_however_a_release_fails_its_token_is_shown_nowhere(stack: StackWithToken, hub: LocalHub, failure: str) -> None:
    name = f"fails-{[*FAILURES].index(failure)}"
    settings = {**FAST, "answers": {"France": "It is Lyon."}}

    def change(content: dict[str, Any]) -> None:
        gated(content)
        FAILURES[failure](stack, hub, content)

    model = stack.simulated_model(name, settings=settings, hub={"gated": True}, change=change)
    result = leaves_no_trace(stack, lambda: stack.run(model, "--json"), in_jobs=False)
    assert result.returncode != 0, result.stdout


@pytest.mark.soak
def test_no_command_shows_the_token(stack: StackWithToken, hub: LocalHub) -> None:
    model = stack.simulated_model("asked", settings=FAST, hub={"gated": True}, change=gated)
    leaves_no_trace(stack, lambda: stack.run(model, "--json"))
    for words in (
        ["status", model],
        ["history", model],
        ["plan", model],
        ["definition", model],
        ["doctor"],
        ["follow", model],
        ["report", model],
    ):
        result = leaves_no_trace(stack, lambda words=words: stack.run(*words), in_jobs=False)  # type: ignore[misc]
        assert "Traceback" not in result.stderr, words
