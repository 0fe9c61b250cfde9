"""No web page drives the server: what a page sends is refused, what AWS's clients send is not."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from local_hub import LocalHub
from sagemaker_local.testing import RunningServer, running
from sagemaker_local.web.browsers import BrowserGuard
from tests.sagemaker_local.hosting_client import HostingClient
from tests.support import browser
from tests.support.simulated_engine import simulated

chromium = pytest.mark.skipif(browser.PROGRAM is None, reason="there is no Chromium on this machine: apt-get install chromium")
HERE = ("host", "127.0.0.1:4566")
ATTACK = Path(__file__).with_name("attack.html")


def refusal(*headers: tuple[str, str], method: str = "GET", names: tuple[str, ...] = ()) -> str | None:
    return BrowserGuard.of(*names).refusal(method, [(name.encode(), value.encode("latin-1")) for name, value in headers])


@pytest.mark.parametrize(
    "headers",
    [
        [("origin", "https://evil.example")],
        [("origin", "null")],
        [("origin", "http://127.0.0.1:4566")],
        [("origin", "")],
        [("referer", "https://evil.example/")],
        [("sec-fetch-site", "cross-site"), ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")],
        [("sec-fetch-site", "same-site")],
        [("sec-fetch-site", "same-origin")],
        [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
        [("user-agent", "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/15.0 Safari/605.1.15")],
    ],
)
def test_what_a_page_sends_is_refused(headers: list[tuple[str, str]]) -> None:
    refused = refusal(HERE, *headers)
    assert refused is not None
    assert refused.startswith("a page in a browser sent this (")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4566",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1@evil",
        "",
        "0.0.0.0:4566",
        "[::]:4566",
        "192.168.1.7:4566",
        "[::1].evil.example",
        "localhost:80:80",
        "127.0.0.1, evil.example",
    ],
)
def test_a_host_that_is_not_this_machine_is_refused(host: str) -> None:
    assert "this server answers to 127.0.0.1, [::1], localhost alone" in str(refusal(("host", host)))


def test_a_request_without_a_host_or_with_two_is_refused() -> None:
    assert "answers to" in str(refusal())
    assert "answers to" in str(refusal(HERE, ("host", "evil.example")))


def test_a_preflight_is_refused_with_an_origin_or_without() -> None:
    assert "a preflight" in str(refusal(HERE, method="OPTIONS"))
    assert "Origin: https://evil.example" in str(refusal(HERE, ("origin", "https://evil.example"), method="OPTIONS"))


@pytest.mark.parametrize(
    ("host", "agent"),
    [
        ("127.0.0.1:4566", "Boto3/1.44.8 md/Botocore#1.44.8 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.11.2"),
        ("localhost:4566", "aws-cli/2.31.0 md/awscrt#0.27.6 ua/2.1 os/linux"),
        ("LocalHost", "aws-sdk-go-v2/1.39.0"),
        ("[::1]:4566", "OpenAI/Python 2.8.0"),
        ("my-bucket.localhost:4566", "aws-sdk-java/2.30.0"),
    ],
)
def test_what_a_program_sends_is_not(host: str, agent: str) -> None:
    assert refusal(("host", host), ("user-agent", agent), ("accept", "*/*")) is None


def test_node_and_a_person_who_types_the_address_are_not_pages() -> None:
    assert refusal(HERE, ("sec-fetch-mode", "cors"), ("user-agent", "node"), method="POST") is None
    assert refusal(HERE, ("sec-fetch-site", "none"), ("user-agent", "Mozilla/5.0 (X11)")) is None


def test_a_link_in_a_mail_changes_nothing() -> None:
    """It is opened as an address that was typed, and of most services an address can name any action."""
    opened = (HERE, ("sec-fetch-site", "none"), ("user-agent", "Mozilla/5.0 (X11)"))
    guard, headers = BrowserGuard.of(), [(name.encode(), value.encode()) for name, value in opened]
    assert guard.refusal("GET", headers, "s3") is None  # a report
    assert "opened from a link" in str(guard.refusal("GET", headers, "sns"))
    assert "opened from a link" in str(guard.refusal("POST", headers, "s3"))


def test_names_that_the_user_gives_are_this_server_s() -> None:
    names = ("host.docker.internal", "Sagemaker", "fd00::1", "0.0.0.0")
    for host in ("host.docker.internal:4566", "SAGEMAKER", "[fd00::1]:4566"):
        assert refusal(("host", host), names=names) is None
    assert refusal(("host", "0.0.0.0:4566"), names=names) is not None  # the address of every address: a page may use it


def ask(server: RunningServer, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str, list[str]]:
    """Status, body and the names of the headers of the answer to a plain HTTP request."""
    connection = http.client.HTTPConnection(server.endpoint_url.removeprefix("http://"))
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), [name.lower() for name in answer.headers]


def signed_for(service: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"


def test_the_refusal_says_what_to_do_in_the_client_s_own_format(server: RunningServer) -> None:
    status, body, names = ask(server, "POST", "/", "{}", Host="evil.example:1", X_Amz_Target="SageMaker.ListModels")
    assert (status, json.loads(body)["__type"]) == (403, "AccessDenied")
    assert "Host is evil.example:1" in body
    assert "start it with --allowed-host NAME" in body
    _, body, _ = ask(server, "GET", "/", Host="evil.example:1", Authorization=signed_for("s3"))
    assert body.startswith("<Error><Code>AccessDenied</Code>")
    assert not [name for name in names if name.startswith("access-control-")]


def test_no_answer_invites_pages(server: RunningServer, s3: Any, a_bucket: str) -> None:
    s3.put_object(Bucket=a_bucket, Key="object", Body=b"x")
    for service, method, path, headers in (
        ("s3", "GET", f"/{a_bucket}/object", {}),
        ("secretsmanager", "POST", "/", {"X_Amz_Target": "secretsmanager.ListSecrets"}),
    ):
        status, _, names = ask(server, method, path, "{}" if headers else "", Authorization=signed_for(service), **headers)
        assert (service, status) == (service, 200)
        assert not [name for name in names if name.startswith("access-control-")]


def test_a_server_answers_to_the_names_that_it_is_given(tmp_path: Path) -> None:
    with running(tmp_path / "state", arguments=["--allowed-host", "sagemaker.test"]) as server:
        assert ask(server, "GET", "/", Host="sagemaker.test")[0] == 200
        assert ask(server, "GET", "/", Host="other.test")[0] == 403


def test_virtual_hosted_addresses_of_buckets_work(server: RunningServer, s3: Any, a_bucket: str) -> None:
    s3.put_object(Bucket=a_bucket, Key="key", Body=b"x")
    host = f"{a_bucket}.localhost:{server.endpoint_url.rpartition(':')[2]}"
    status, body, _ = ask(server, "GET", "/?list-type=2", Host=host, Authorization=signed_for("s3"))
    assert (status, "<Key>key</Key>" in body) == (200, True)


def test_the_command_line_and_openai_s_client_are_answered(server: RunningServer, hosting: HostingClient) -> None:
    program = Path(sys.executable).with_name("aws")
    done = subprocess.run(
        [program, "sts", "get-caller-identity"], env=os.environ | server.environment(), capture_output=True, text=True
    )
    assert json.loads(done.stdout)["Account"] == "123456789012", done.stderr
    url = f"{server.endpoint_url}/endpoints/{hosting.endpoint()}/openai/v1"
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        assert client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve on a port of its own, which is yielded."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield site.server_port
        site.shutdown()


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@chromium
def test_a_page_of_another_site_neither_reads_nor_changes_anything(server: RunningServer, client: Any, tmp_path: Path) -> None:
    client("s3").create_bucket(Bucket="loot")
    client("s3").put_object(Bucket="loot", Key="secret.txt", Body=b"secret")
    client("secretsmanager").create_secret(Name="token", SecretString="hf_secret")
    job = {
        "ProcessingJobName": f"attack-{uuid.uuid4().hex[:8]}",
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
        "AppSpecification": {"ImageUri": "1.dkr.ecr.us-east-1.amazonaws.com/tests:1"},
        "RoleArn": "arn:aws:iam::123456789012:role/any",
    }
    (tmp_path / "weights").mkdir()
    with (
        LocalHub(builtin=False) as hub,
        simulated(tmp_path / "weights") as engine,
        serving(partial(Files, directory=tmp_path)) as port,
    ):
        known = {"SAGEMAKER": server.endpoint_url, "HUB": hub.endpoint, "ENGINE": engine.removesuffix("/v1"), "JOB": job}
        names = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in known.items())
        (tmp_path / "index.html").write_text(ATTACK.read_text().replace("<script>", f"<script>{names}", 1))
        read = browser.visit(f"http://localhost:{port}/index.html", ("attack()",)).answers["attack()"]
        faults, asked = hub.faults.take("any/any", "hub", ranged=False), [request.status for request in hub.requests]
    assert {name for name, text in read.items() if text} == set()
    assert "open a socket" in read
    assert client("sagemaker").list_processing_jobs(NameContains="attack")["ProcessingJobSummaries"] == []
    assert client("sns").list_topics()["Topics"] == []
    assert [entry["Key"] for entry in client("s3").list_objects_v2(Bucket="loot")["Contents"]] == ["secret.txt"]
    assert (faults, set(asked)) == (None, {403})


class Rebound(BaseHTTPRequestHandler):
    """A site whose name leads elsewhere once its page is loaded: what the page asks then reaches `port` as the browser sent it."""

    port = 0

    def do_GET(self) -> None:
        if self.path == "/page":
            self._answer(200, "text/html", b"<title>A page</title>")
        else:
            self.do_POST()

    def do_POST(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(self.rfile.read(int(self.headers.get("content-length", 0))))
        answer = connection.getresponse()
        self._answer(answer.status, answer.headers["content-type"], answer.read())
        connection.close()

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@chromium
def test_a_name_that_leads_here_is_no_way_in(server: RunningServer) -> None:
    """DNS rebinding: to the browser the server is the page's own origin."""
    sagemaker = "fetch('/', {headers: {'x-amz-target': 'SageMaker.ListModels'}, method: 'POST', body: '{}'}).then((answer) => answer.text())"
    get = "fetch('/%s').then((answer) => answer.text())"
    flags = ("--host-resolver-rules=MAP rebound.test 127.0.0.1",)
    with LocalHub(builtin=False) as hub:
        ports = {int(server.endpoint_url.rpartition(":")[2]): (sagemaker, get % ""), hub.port: (get % "api/models",)}
        for port, scripts in ports.items():
            with serving(type("Rebound", (Rebound,), {"port": port})) as own:
                answers = browser.visit(f"http://rebound.test:{own}/page", scripts, flags=flags).answers
            assert [script for script in scripts if f"Host is rebound.test:{own}" not in answers[script]] == []
