"""Canary prompts: questions whose answers are known, asked of a staging endpoint before the gate and of production after an update."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from config.base import Strict
from config.evaluation import Canary

_SHOWN = 300


class CanaryResult(Strict):
    """What became of one canary prompt."""

    prompt: str
    """What was asked."""
    expect: str
    """What the answer had to contain, ignoring case."""
    answer: str
    """The answer, cut to 300 characters; the error, where there was none."""
    passed: bool
    """Whether it did."""


def ask_all(runtime: Any, endpoint: str, canaries: Iterable[Canary]) -> list[CanaryResult]:
    """Ask every canary greedily; `runtime` is a boto3 sagemaker-runtime client. Never raises: no answer is a wrong answer."""
    return [_ask(runtime, endpoint, canary) for canary in canaries]


def _unanswered(message: dict[str, Any], canary: Canary) -> str:
    """What to show of a model that had not thought to the end (SGLang's reasoning parsers keep its thoughts apart)."""
    thoughts = message.get("reasoning_content")
    return f"(no answer within {canary.max_tokens} tokens, only thoughts; raise the canary's max_tokens)" if thoughts else ""


def _ask(runtime: Any, endpoint: str, canary: Canary) -> CanaryResult:
    from botocore.exceptions import BotoCoreError, ClientError

    body = {"messages": [{"role": "user", "content": canary.prompt}], "max_tokens": canary.max_tokens, "temperature": 0}
    try:
        response = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=json.dumps(body).encode())
        message = json.loads(response["Body"].read())["choices"][0]["message"]
        answer = str(message["content"] or "")
    except (ClientError, BotoCoreError, ValueError, LookupError, TypeError) as error:
        return CanaryResult(
            prompt=canary.prompt, expect=canary.expect, answer=f"{type(error).__name__}: {error}"[:_SHOWN], passed=False
        )
    passed = canary.expect.casefold() in answer.casefold()
    shown = answer[:_SHOWN] or _unanswered(message, canary)
    return CanaryResult(prompt=canary.prompt, expect=canary.expect, answer=shown, passed=passed)
