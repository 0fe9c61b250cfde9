"""Prompt checks: questions whose answers are known, asked of a staging endpoint before the gate and of production after an update: its smoke test."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from config.base import Strict
from config.evaluation import PromptCheck

if TYPE_CHECKING:
    from types_boto3_sagemaker_runtime.client import SageMakerRuntimeClient

_SHOWN = 300
_REFUSALS = (
    *("AccessDenied", "ExpiredToken", "UnrecognizedClient", "InvalidSignature", "InvalidClientTokenId", "Throttling"),
    *("InternalFailure", "InternalDependency", "ServiceUnavailable"),
)
"""How the codes begin with which AWS turns a caller away before a model is asked, or fails itself (Common Errors, and those of InvokeEndpoint,
SageMaker's API reference); what a container does wrong comes as ModelError."""


class PromptCheckResult(Strict):
    """What became of one prompt check."""

    prompt: str
    """What was asked."""
    expect: str
    """What the answer had to contain, ignoring case."""
    answer: str
    """The answer, cut to 300 characters; the error, where there was none."""
    passed: bool
    """Whether it did."""
    refused: bool = False
    """Whether AWS did not let it be asked: that says nothing about the model."""


def ask_all(runtime: SageMakerRuntimeClient, endpoint: str, prompt_checks: Iterable[PromptCheck]) -> list[PromptCheckResult]:
    """Ask every check greedily. Never raises: no answer is a wrong answer.

    Args:
        runtime: The client of the endpoint's region.
        endpoint: Its name.
        prompt_checks: What to ask, and what the answers have to contain.

    Returns:
        A result for each, in their order.
    """
    return [_ask(runtime, endpoint, check) for check in prompt_checks]


def _is_not_the_models(error: Exception) -> bool:
    """Tell whether the model was not asked, as far as that is known: refused by AWS, or no connection. A model may take too long by itself."""
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code", "").startswith(_REFUSALS)
    return isinstance(error, BotoCoreError) and not isinstance(error, ReadTimeoutError)


def _unanswered(message: dict[str, Any], check: PromptCheck) -> str:
    """Say what to show of a model that had not thought to the end (SGLang's reasoning parsers keep its thoughts apart)."""
    thoughts = message.get("reasoning_content")
    return f"(no answer within {check.max_tokens} tokens, only thoughts; raise the check's max_tokens)" if thoughts else ""


def _ask(runtime: SageMakerRuntimeClient, endpoint: str, check: PromptCheck) -> PromptCheckResult:
    body = {"messages": [{"role": "user", "content": check.prompt}], "max_tokens": check.max_tokens, "temperature": 0}
    try:
        response = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=json.dumps(body).encode())
        message = json.loads(response["Body"].read())["choices"][0]["message"]
        answer = str(message["content"] or "")
    except (ClientError, BotoCoreError, ValueError, LookupError, TypeError) as error:
        return PromptCheckResult(
            prompt=check.prompt,
            expect=check.expect,
            answer=f"{type(error).__name__}: {error}"[:_SHOWN],
            passed=False,
            refused=_is_not_the_models(error),
        )
    passed = check.expect.casefold() in answer.casefold()
    shown = answer[:_SHOWN] or _unanswered(message, check)
    return PromptCheckResult(prompt=check.prompt, expect=check.expect, answer=shown, passed=passed)
