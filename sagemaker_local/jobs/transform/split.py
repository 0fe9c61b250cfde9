"""How an object of a transform job's input becomes request bodies, and the answers one object again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_local.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def bodies(content: bytes, split_type: str, strategy: str, limit_bytes: int) -> Iterator[bytes]:
    """Yield the request bodies of an object.

    Args:
        content: the object.
        split_type: ``None`` (the whole object at once) or ``Line``.
        strategy: ``SingleRecord`` (a line a request) or ``MultiRecord`` (as many lines as fit).
        limit_bytes: MaxPayloadInMB.

    Raises:
        InputError: a body would be larger than the limit.
    """
    if split_type == "None":
        yield _checked(content, limit_bytes)
        return
    batch: list[bytes] = []
    size = 0
    for line in content.splitlines():
        if batch and (strategy == "SingleRecord" or size + 1 + len(line) > limit_bytes):
            yield _checked(b"\n".join(batch), limit_bytes)
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield _checked(b"\n".join(batch), limit_bytes)


def assembled(answers: Sequence[bytes], assemble_with: str) -> Iterable[bytes]:
    """Return the pieces of the output object: the answers one after the other, each on its own line for ``Line``."""
    for answer in answers:
        yield answer
        if assemble_with == "Line" and not answer.endswith(b"\n"):
            yield b"\n"


def _checked(body: bytes, limit_bytes: int) -> bytes:
    if len(body) > limit_bytes:
        raise InputError(f"ClientError: A record of {len(body)} bytes is larger than MaxPayloadInMB ({limit_bytes >> 20})")
    return body
