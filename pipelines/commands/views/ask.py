"""`ask`: one question to the production endpoint, its answer streamed as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
from botocore.exceptions import ClientError

from pipelines.errors import ExecutionError
from pipelines.resolution import attach, resolve


def ask(model: str, env: str, question: str, max_tokens: int) -> None:
    """Print the production endpoint's answer as it comes. ExecutionError when the endpoint refuses or is not there."""
    resolved = resolve(model, env)
    attach(resolved.environment)
    for piece in stream_answer(resolved.model.production.endpoint, resolved.environment.region, question, max_tokens):
        print(piece, end="", flush=True)
    print()


def stream_answer(endpoint: str, region: str, question: str, max_tokens: int) -> Iterator[str]:
    """Yield the answer's pieces as they come. ExecutionError when the endpoint refuses or is not there."""
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": max_tokens, "temperature": 0, "stream": True}
    runtime = boto3.client("sagemaker-runtime", region_name=region)
    try:
        response = runtime.invoke_endpoint_with_response_stream(
            EndpointName=endpoint, ContentType="application/json", Body=json.dumps(body).encode()
        )
        yield from _contents(_lines(event["PayloadPart"]["Bytes"] for event in response["Body"]))
    except ClientError as error:
        raise ExecutionError(f"endpoint {endpoint}: {error.response['Error']['Message']}") from error


def _lines(parts: Iterator[bytes]) -> Iterator[str]:
    """Yield whole lines from parts that are cut anywhere."""
    rest = b""
    for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        yield from (line.decode() for line in lines)
    if rest:
        yield rest.decode()


def _contents(lines: Iterator[str]) -> Iterator[str]:
    """Yield the text in server-sent events of chat completions."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        for choice in json.loads(data).get("choices", []):
            yield choice["delta"].get("content") or ""
