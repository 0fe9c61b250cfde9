"""Where moto's S3 is wrong or copies too much. Everything else of S3 is moto's.

- A body that does not match its ``x-amz-checksum-*`` (header or trailer) or ``Content-MD5`` is refused with ``BadDigest``; moto
  accepts it. (S3 user guide, "Checking object integrity for data uploads in Amazon S3": "If the checksum ... doesn't match, S3
  returns a BadDigest error".) The same for a full-object checksum given to CompleteMultipartUpload, whose answer also lacks
  the checksum in moto.
- An upload without a checksum gets a CRC64NVME one, as S3 gives it since December 2024 (same page).
- ObjectWrites of one object are one at a time, and conditional ones do what S3 says (``s3_writes``).
- GetObject reads only the range that is asked for, from moto's file; moto reads the whole object into memory for each range, and
  sends it all when a part is asked for by its number.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import tempfile
import uuid
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from sagemaker_local.errors import AwsError, DiskFull
from sagemaker_local.s3.objects import UploadedBody, UploadedBodyInput
from sagemaker_local.s3.upload import ALGORITHMS, S3Checksum, UploadBody
from sagemaker_local.s3.writes import ObjectWrite, ObjectWrites
from sagemaker_local.web import wsgi

if TYPE_CHECKING:
    from sagemaker_local.moto_bridge.bridge import Moto
    from sagemaker_local.web.request import HttpRequest

_MEMORY_BYTES = 1 << 20
_BLOCK_BYTES = 256 * 1024
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")  # moto looks into such a body, whatever it is for
_CHECKSUM = b"x-amz-checksum-"
# What makes a GET something else than GetObject, or an answer that only moto knows how to make.
_NOT_PLAIN_GET = frozenset(
    {"acl", "tagging", "attributes", "uploadId", "torrent", "legal-hold", "retention", "website", "select"}
)


class S3Front:
    """S3 requests, corrected before and after moto."""

    def __init__(self, moto: Moto, workers: wsgi.WorkerPools) -> None:
        self._moto = moto
        self._workers = workers
        self._writes = ObjectWrites(moto)

    async def serve(self, request: HttpRequest) -> None:
        """WsgiResponse an S3 request."""
        try:
            await self._serve(request)
        except AwsError as error:
            await _respond_error(request, error)
        except OSError as error:
            full = DiskFull.of(error, "sagemaker_local's state or temporary files")
            if full is None:
                raise
            await _respond_error(request, full)

    async def _serve(self, request: HttpRequest) -> None:
        is_object = "/" in request.path.strip("/")
        if request.method == "PUT" and is_object and "x-amz-copy-source" not in request.headers:
            await self._put(request)
        elif request.method == "PUT" and is_object:
            await self._copy(request)
        elif request.method == "POST" and "uploadId" in request.query:
            await self._complete(request)
        elif request.method == "HEAD" and is_object:
            async with self._writes.turn(
                ObjectWrite(_bucket_and_name(request))
            ):  # moto's fails on an object that is just being replaced
                answer = await self._head(request)
            await wsgi.send(request, answer)
        elif request.method == "GET" and is_object and not (_NOT_PLAIN_GET & request.query.keys()):
            await self._get(request)
        elif request.method == "DELETE" and is_object:
            await self._delete(request)
        else:
            with await request.spooled_body() as body:
                await wsgi.serve(self._moto.application, self._workers, request, body)

    async def _put(self, request: HttpRequest) -> None:
        """Answer PutObject, UploadPart and the settings of an object: the body decoded and checked, then moto's."""
        with tempfile.SpooledTemporaryFile(_MEMORY_BYTES) as file:
            async with self._writes.begun(_write(request)) as write:
                body = UploadBody(request.headers, file)
                async for block in request.blocks():
                    body.feed(block)
                headers = body.checked_headers(request)
                file.seek(0)
                environ = wsgi.environ(request, file, body.length, headers)
                if body.length > _MEMORY_BYTES and not environ.get("CONTENT_TYPE", "").startswith(_FORMS):
                    # Else moto has it in memory, twice.
                    environ["wsgi.input"] = UploadedBodyInput(UploadedBody.of(file, body.length))
                    environ["wsgi.input_terminated"] = True
                if "partNumber" in request.query:
                    answer = await self._in_moto(environ)
                else:
                    async with self._writes.turn(write):
                        answer = await self._in_moto(environ)
        await wsgi.send(request, answer)

    async def _copy(self, request: HttpRequest) -> None:
        """Answer CopyObject and UploadPartCopy."""
        async with self._writes.begun(_write(request)) as write:
            body = await request.body()
            async with self._writes.turn(write):
                answer = await self._in_moto(wsgi.environ(request, io.BytesIO(body), len(body)))
        await wsgi.send(request, answer)

    async def _delete(self, request: HttpRequest) -> None:
        """Answer DeleteObject, DeleteObjectTagging and AbortMultipartUpload."""
        key = _bucket_and_name(request)
        async with self._writes.turn(ObjectWrite(key)):
            answer = await self._in_moto(wsgi.environ(request, io.BytesIO(), 0))
            if answer.status < 300 and not request.query.keys() & {"uploadId", "tagging"}:
                self._writes.deleted(key)
        await wsgi.send(request, answer)

    async def _complete(self, request: HttpRequest) -> None:
        """Answer CompleteMultipartUpload: a full-object checksum is checked before, and told after."""
        async with self._writes.begun(_write(request)) as write:
            body = await request.body()
            declared = {name: value for name in ALGORITHMS if (value := request.headers.get(f"x-amz-checksum-{name}"))}
            await asyncio.to_thread(self._check_parts, request, body, declared)
            if self._is_complete(request):  # again, after the answer was lost: its own object is no obstacle
                write = ObjectWrite(write.key)
            async with self._writes.turn(write):
                answer = await self._in_moto(wsgi.environ(request, io.BytesIO(body), len(body)))
        if answer.status == 200:
            answer.body = self._with_checksum(answer.body, *write.key)
            answer.headers = [(name, value) for name, value in answer.headers if name != b"content-length"]
        await wsgi.send(request, answer)

    def _is_complete(self, request: HttpRequest) -> bool:
        """Return whether the object is there and is this upload's."""
        found = self._moto.backend("s3", "aws").get_object(*_bucket_and_name(request))
        return found is not None and found.multipart is not None and found.multipart.id == request.query["uploadId"]

    def _check_parts(self, request: HttpRequest, body: bytes, declared: dict[str, str]) -> None:
        """Compare declared full-object checksums with the parts'. A composite one (``...-N``) is moto's to compute."""
        bucket, _ = _bucket_and_name(request)
        upload = self._moto.backend("s3", "aws").get_bucket(bucket).multiparts.get(request.query["uploadId"])
        if upload is None:
            return
        for algorithm, value in declared.items():
            if "-" in value:
                continue
            checksum = S3Checksum(algorithm)
            for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body):
                part = upload.parts.get(int(number))
                for block in part._value_buffer.blocks() if part is not None else ():
                    checksum.update(block)
            if checksum.value() != value:
                raise AwsError("BadDigest", f"The {algorithm.upper()} you specified did not match the calculated checksum.")

    def _with_checksum(self, xml: bytes, bucket: str, name: str) -> bytes:
        key = self._moto.backend("s3", "aws").get_object(bucket, name)
        if key is None or not key.checksum_value or b"<ChecksumType>" in xml:
            return xml
        suffix = f"-{key.checksum_parts}" if key.checksum_type == "COMPOSITE" else ""
        value = key.checksum_value.decode() if isinstance(key.checksum_value, bytes) else key.checksum_value
        tag = f"Checksum{key.checksum_algorithm or 'CRC64NVME'}"
        added = f"<{tag}>{value}{suffix}</{tag}><ChecksumType>{key.checksum_type}</ChecksumType>"
        end = b"</CompleteMultipartUploadResult>"
        return xml.replace(end, added.encode() + end)

    async def _get(self, request: HttpRequest) -> None:
        """Answer GetObject: moto answers as to HeadObject, the bytes come from its file. No write comes between the two."""
        source = None
        async with self._writes.turn(ObjectWrite(_bucket_and_name(request))):
            answer = await self._head(request)
            if answer.status in (200, 206):
                source = open_object(self._moto, *_bucket_and_name(request), request.query.get("versionId"))
        if source is None:
            # moto's own GET has the error's XML; a HEAD answer has none.
            environ = wsgi.environ(request, io.BytesIO(), 0)
            await wsgi.send(request, await self._in_moto(environ))
            return
        try:
            await _send_object(request, answer, source)
        finally:
            source.close()

    async def _head(self, request: HttpRequest) -> wsgi.WsgiResponse:
        """Answer HeadObject. moto's leaves out the checksum's type, or the number of parts it is of, or both."""
        environ = wsgi.environ(request, io.BytesIO(), 0)
        environ["REQUEST_METHOD"] = "HEAD"
        key = self._moto.backend("s3", "aws").get_object(*_bucket_and_name(request), request.query.get("versionId"))
        if key is not None and "partNumber" in request.query:
            environ["HTTP_RANGE"] = _range_of_part(key, request.query["partNumber"])
            environ["QUERY_STRING"] = "&".join(
                part for part in environ["QUERY_STRING"].split("&") if not part.startswith("partNumber=")
            )
        if "," in environ.get("HTTP_RANGE", ""):  # several ranges: S3 answers with the whole object
            del environ["HTTP_RANGE"]
        answer = await self._in_moto(environ)
        if key is not None and "partNumber" in request.query and key.multipart:
            answer.headers.append((b"x-amz-mp-parts-count", str(len(key.multipart.parts)).encode()))
        if not any(name.startswith(_CHECKSUM) for name, _ in answer.headers):
            return answer
        answer.headers = [header for header in answer.headers if not header[0].startswith(_CHECKSUM)]
        if key is not None and answer.status == 200:  # of a range there is none: the checksum is the whole object's
            answer.headers += _checksum_headers(key)
        return answer

    async def _in_moto(self, environ: dict[str, Any]) -> wsgi.WsgiResponse:
        return await wsgi.run(self._moto.application, self._workers, environ)


class ObjectBytes:
    """An object's bytes, readable at any place while the object may be replaced or deleted."""

    def __init__(self, key: Any) -> None:
        with key.lock:
            self._descriptor: int = key._value_buffer.open()
        self.size: int = key.contentsize

    def read(self, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``start``."""
        return os.pread(self._descriptor, length, start)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def open_object(moto: Moto, bucket: str, name: str, version_id: str | None = None) -> ObjectBytes:
    """Return an object's bytes, for reading without HTTP. The caller closes it.

    Raises:
        AwsError: ``NoSuchKey``.
    """
    key = moto.backend("s3", "aws").get_object(bucket, name, version_id)
    if key is None:
        raise AwsError("NoSuchKey", f"The specified key does not exist: s3://{bucket}/{name}", 404)
    return ObjectBytes(key)


def _range_of_part(key: Any, number: str) -> str:
    """Return the Range of one part of an object; an object that was not uploaded in parts is its own part 1.

    Raises:
        AwsError: ``InvalidPartNumber`` (416).
    """
    parts = key.multipart.parts if key.multipart else {1: None}
    part = parts.get(int(number) if number.isdigit() else 0, key)
    if part is key:
        raise AwsError("InvalidPartNumber", "The requested partnumber is not satisfiable", 416)
    start, length = (0, key.contentsize) if part is None else part._value_buffer.stretch
    return f"bytes={start}-{start + length - 1}"


def _checksum_headers(key: Any) -> list[tuple[bytes, bytes]]:
    """Return an object's checksum as S3 shows it: one of a multipart upload's parts carries their number."""
    value = key.checksum_value
    text = value.decode() if isinstance(value, bytes) else str(value)
    kind = key.checksum_type or "FULL_OBJECT"
    if kind == "COMPOSITE":
        text = f"{text}-{key.checksum_parts}"
    name = _CHECKSUM + str(key.checksum_algorithm or "crc64nvme").lower().encode()
    return [(name, text.encode()), (_CHECKSUM + b"type", kind.encode())]


def _bucket_and_name(request: HttpRequest) -> tuple[str, str]:
    bucket, _, name = request.path[1:].partition("/")
    return bucket, name


def _write(request: HttpRequest) -> ObjectWrite:
    return ObjectWrite.of(_bucket_and_name(request), request.headers)


async def _send_object(request: HttpRequest, answer: wsgi.WsgiResponse, source: ObjectBytes) -> None:
    headers = {name: value for name, value in answer.headers if name != b"content-length"}
    start, end = 0, source.size
    if answer.status == 206:
        span = headers[b"content-range"].split()[1].partition(b"/")[0]
        first, _, last = span.partition(b"-")
        start, end = int(first), int(last) + 1
    headers[b"content-length"] = str(end - start).encode()
    for parameter, value in request.query.items():
        if parameter.startswith("response-"):
            headers[parameter.removeprefix("response-").encode()] = value.encode("latin-1")
    await request.send({"type": "http.response.start", "status": answer.status, "headers": list(headers.items())})
    while start < end:
        block = source.read(start, min(_BLOCK_BYTES, end - start))
        if not block:
            break
        start += len(block)
        await request.send({"type": "http.response.body", "body": block, "more_body": True})
    await request.send({"type": "http.response.body", "body": b""})


async def _respond_error(request: HttpRequest, error: AwsError) -> None:
    """Send an error as S3 does."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message>'
        f"<RequestId>{uuid.uuid4().hex[:16].upper()}</RequestId></Error>"
    )
    await request.respond(error.status, [(b"content-type", b"application/xml")], body.encode())
