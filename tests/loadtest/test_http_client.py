"""The load client's connections as they are in AWS and never on loopback: names to look up, TLS, thousands at a time."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loadtest.client.chat_client import ChatRequest, LoadClient
from loadtest.generator.arrivals import ScheduledRequest
from loadtest.generator.load import Load
from loadtest.generator.worker_pool import WorkerPool
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.request_record import RequestRecord
from loadtest.transports.openai import OpenAITransport
from tests.support.simulated_engine import simulated
from tests.support.worlds.evaluation import ROOT

ASK = ChatRequest(({"role": "user", "content": "hello"},), 8)
WHOLE = b"".join(
    b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    for choice in ({"delta": {"content": "one"}}, {"delta": {}, "finish_reason": "stop"})
)
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(WHOLE)


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """Of localhost, by an authority that only AWS_CA_BUNDLE names: such as a company's proxy has."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = made.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "both.pem").write_bytes(secret + public)
    (tmp_path / "authority.pem").write_bytes(public)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    yield context


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, handshake_after_s: float = 0.0) -> AsyncIterator[str]:
    """A server that answers one request on each connection; the address for OpenAI clients, by name."""
    loop, open_now = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD + WHOLE)
            await writer.drain()
        writer.close()

    async def take(connection: socket.socket) -> None:
        await asyncio.sleep(handshake_after_s)
        reader = asyncio.StreamReader()
        with suppress(OSError):
            await loop.connect_accepted_socket(lambda: asyncio.StreamReaderProtocol(reader, answer), connection, ssl=tls)

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(listening)
            open_now.add(asyncio.create_task(take(connection)))

    with socket.create_server(("127.0.0.1", 0), backlog=500) as listening:
        listening.setblocking(False)
        accepting = asyncio.create_task(accept())
        yield f"{'https' if tls else 'http'}://localhost:{listening.getsockname()[1]}/v1"
        accepting.cancel()
        await asyncio.gather(*open_now)


async def send(client: LoadClient, times: int) -> list[RequestRecord]:
    return list(await asyncio.gather(*(client.send(ASK, 1) for _ in range(times))))


def test_clients_that_begin_together_look_the_name_up_once() -> None:
    async def run() -> tuple[list[RequestRecord], list[Any]]:
        loop, asked = asyncio.get_running_loop(), list[Any]()
        look_up = loop.getaddrinfo

        async def counting(host: Any, *rest: Any, **named: Any) -> Any:
            asked.append(host)
            return await look_up(host, *rest, **named)

        loop.getaddrinfo = counting  # type: ignore[method-assign]
        async with serving() as url:
            client = LoadClient(OpenAITransport(url), 10)
            try:
                return await send(client, 100), asked
            finally:
                client.close()

    results, asked = asyncio.run(run())
    assert [result.error for result in results] == [""] * 100
    assert asked == ["localhost"]


def test_every_address_of_a_name_is_used_and_one_that_refuses_is_passed_over() -> None:
    async def run() -> list[RequestRecord]:
        async with serving() as url:
            client = LoadClient(OpenAITransport(url.replace("localhost", "endpoint.test")), 10)
            loop, port = asyncio.get_running_loop(), int(url.split(":")[2].split("/")[0])

            async def found(host: Any, *_: Any, **__: Any) -> Any:
                assert host == "endpoint.test"
                return [(2, 1, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

            loop.getaddrinfo = found  # type: ignore[method-assign]
            try:
                return await send(client, 4)
            finally:
                client.close()

    assert [result.error for result in asyncio.run(run())] == [""] * 4


def test_over_tls_with_an_authority_that_boto3_would_trust(certificate: ssl.SSLContext) -> None:
    async def run(host: str) -> RequestRecord:
        async with serving(certificate) as url:
            client = LoadClient(OpenAITransport(url.replace("localhost", host)), 10)
            try:
                return (await send(client, 1))[0]
            finally:
                client.close()

    assert asyncio.run(run("localhost")).is_ok
    refused = asyncio.run(run("127.0.0.1"))
    assert refused.error == "connect"
    assert "CERTIFICATE_VERIFY_FAILED" in refused.message, "it is not the name that the certificate is of"


def test_a_slow_handshake_is_the_endpoints_time_not_the_clients(certificate: ssl.SSLContext) -> None:
    async def run() -> Measurement:
        async with serving(certificate, handshake_after_s=2) as url:
            schedule = tuple(ScheduledRequest(number / 20) for number in range(20))
            load = Load(OpenAITransport(url), 10, 8, 8, warmup_s=0, duration_s=1, schedule=schedule)
            with WorkerPool(1) as pool:
                return await asyncio.to_thread(pool.measure, load)

    measurement = asyncio.run(run())
    assert measurement.errors == {}
    assert min(result.ttft_ms for result in measurement.counted) > 1900, "whoever asks waits for it"
    assert measurement.client(1500).bottleneck == "", "and the client was in time"


def test_more_streams_than_the_usual_limit_of_open_files(tmp_path: Path) -> None:
    program = """
import sys
from loadtest.generator.worker_pool import WorkerPool
from loadtest.generator.load import Load
from loadtest.transports.openai import OpenAITransport
if __name__ == "__main__":
    with WorkerPool(1) as pool:
        print(pool.measure(Load(OpenAITransport(sys.argv[1]), 30, 8, 2, 0, 0.3, concurrency=150)).errors)
"""
    (tmp_path / "program.py").write_text(program)
    with simulated(tmp_path, "--sim-ttft-ms", "300", "--sim-itl-ms", "1") as url:
        command = f"ulimit -Sn 100; exec {sys.executable} {tmp_path / 'program.py'} {url}"
        done = subprocess.run(
            ["bash", "-c", command],
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.strip() == "{}"
