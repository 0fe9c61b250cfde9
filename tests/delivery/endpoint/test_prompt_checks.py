"""Prompt checks: what counts as the answer."""

from __future__ import annotations

import io
import json
from typing import Any, cast
from unittest import mock

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from config.evaluation import PromptCheck
from delivery.endpoint import prompt_checks


class Endpoint:
    """A sagemaker-runtime client whose endpoint answers with this message."""

    def __init__(self, message: dict[str, Any]) -> None:
        self._message = message

    def invoke_endpoint(self, **_: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(json.dumps({"choices": [{"message": self._message}]}).encode())}


@pytest.mark.parametrize(
    ("message", "passed", "shown"),
    [
        ({"content": "It is 42."}, True, "It is 42."),
        ({"content": "It is 41."}, False, "It is 41."),
        ({"content": ""}, False, ""),
        (
            {"content": None, "reasoning_content": "17 and 25 are 42, but let me"},
            False,
            "(no answer within 42 tokens, only thoughts; raise the check's max_tokens)",
        ),
    ],
)
def test_a_model_that_is_still_thinking_has_not_answered(message: dict[str, Any], passed: bool, shown: str) -> None:
    [result] = prompt_checks.ask_all(
        cast(Any, Endpoint(message)), "some", [PromptCheck(prompt="What is 17 + 25?", expect="42", max_tokens=42)]
    )
    assert (result.passed, result.answer) == (passed, shown)


@pytest.mark.parametrize(
    ("error", "says_nothing"),
    [
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "InvokeEndpoint"), True),
        (ClientError({"Error": {"Code": "InternalFailure"}}, "InvokeEndpoint"), True),
        (ClientError({"Error": {"Code": "ServiceUnavailable"}}, "InvokeEndpoint"), True),
        (ConnectionClosedError(endpoint_url="https://runtime"), True),
        (ReadTimeoutError(endpoint_url="https://runtime"), False),
        (ClientError({"Error": {"Code": "ModelError"}}, "InvokeEndpoint"), False),
    ],
)
def test_what_aws_and_the_network_do_says_nothing_about_the_model(error: Exception, says_nothing: bool) -> None:
    runtime = mock.Mock(invoke_endpoint=mock.Mock(side_effect=error))
    [result] = prompt_checks.ask_all(runtime, "some", [PromptCheck(prompt="What is 17 + 25?", expect="42")])
    assert (result.passed, result.refused) == (False, says_nothing)
