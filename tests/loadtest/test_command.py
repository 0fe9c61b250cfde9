"""`python -m loadtest` and the package's door, as a user has them: against a simulated engine, and through a SageMaker on this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyarrow import parquet  # type: ignore[import-untyped]

import loadtest
from loadtest import LoadTestReport
from loadtest.__main__ import main
from sagemaker_local.testing import running
from tests.sagemaker_local.hosting_client import HostingClient
from tests.support.simulated_engine import ROOT, image_entry, simulated

README = (ROOT / "loadtest" / "README.md").read_text(encoding="utf-8")
PROFILE: dict[str, Any] = {
    "kind": "closed_loop",
    "concurrency": 2,
    "prompt_tokens": 24,
    "output_tokens": 8,
    "warmup_s": 0.1,
    "duration_s": 1,
    "objectives": {"ttft_p50_ms": {"at_most": 5000}},
}
CALM = ("--lag-at-most-ms", "10000", "--processes", "1", "--quiet")
"""A machine that runs other tests makes clients late; that is not what these are about."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with simulated(tmp_path_factory.mktemp("engine"), "--sim-ttft-ms", "20", "--sim-itl-ms", "2") as started:
        yield started


def profile(**changes: Any) -> str:
    return json.dumps(PROFILE | changes)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that bad input is told with."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    return line


def test_the_readmes_three_minutes(url: str, tmp_path: Path) -> None:
    def block(language: str) -> str:
        found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
        return found[0].replace("http://127.0.0.1:8000/v1", url)

    (tmp_path / "chat.yaml").write_text(block("yaml"))
    (tmp_path / "program.py").write_text(block("python"))
    command = [*block("bash").replace("python", sys.executable, 1).split(), "--lag-at-most-ms", "10000"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    told = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": False}
    done = subprocess.run(command, **told)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +ttft_p90_ms +[\d.]+  ms +[\d.]+ … [\w. ]+at most 2000 +met$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^ +output_tokens_per_s +\d+  tokens/s +[\d.]+ … [\d.]+ +at least 10 +met$", done.stdout, re.MULTILINE), (
        done.stdout
    )
    assert re.search(r"^  client: \d process(es)?, late by .* ms \(p99\)", done.stdout, re.MULTILINE)
    assert f"PASSED: {url}" in done.stdout
    assert "chat: Closed loop: 4 clients" in done.stderr, "progress is on standard error"
    report = LoadTestReport.model_validate_json((tmp_path / "results" / "report.json").read_bytes())
    assert (report.verdict, report.reasons, report.target) == ("passed", [], url)
    table = parquet.read_table(tmp_path / "results" / "requests.parquet")
    assert sum(table.column("measured").to_pylist()) == report.profiles["chat"].requests > 0
    library = subprocess.run([sys.executable, "program.py"], **told)  # type: ignore[call-overload]
    assert library.returncode == 0, library.stderr
    assert re.fullmatch(r"(passed|invalid) [\d.]+\n", library.stdout)


def test_every_public_name_is_there() -> None:
    assert {name for name in loadtest.__all__ if getattr(loadtest, name, None) is None} == set()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = loadtest.nothing


def test_the_format_of_profiles_alone_imports_nothing_that_costs() -> None:
    heavy = "{'numpy', 'botocore', 'pyarrow', 'httptools', 'tokenizers', 'hdrh'}"
    program = f"import sys, loadtest.profiles; print({heavy} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "set()\n"
    )


def test_a_missed_objective_is_exit_code_1_and_says_by_how_much(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    missed = profile(objectives={"ttft_p50_ms": {"at_most": 1}})
    assert main(["--url", url, "--model", "tiny", "--profile", missed, *CALM]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"at most 1 +missed$", shown, re.MULTILINE)
    assert re.search(r"^FAILED: .*\n  profile: ttft_p50_ms is [\d.]+, must be at most 1$", shown, re.MULTILINE)


def test_a_percentile_of_too_few_samples_is_undecided_and_exit_code_1(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    few = profile(concurrency=1, duration_s=0.3, objectives={"ttft_p999_ms": {"at_most": 9000}})
    assert main(["--url", url, "--model", "tiny", "--profile", few, "--json", *CALM]) == 1
    report = LoadTestReport.model_validate_json(capsys.readouterr().out)
    assert report.verdict == "invalid"
    assert re.fullmatch(r"profile: ttft_p999_ms is of \d+ samples and needs 1000 .*", report.reasons[0])


def test_json_is_the_report_alone_and_a_baseline_is_compared_with(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--url", url, "--model", "tiny", "--profile", profile(), "--out", str(tmp_path), "--json", *CALM]) == 0
    first = LoadTestReport.model_validate_json(capsys.readouterr().out)
    assert first == LoadTestReport.model_validate_json((tmp_path / "report.json").read_bytes())
    interval = first.profiles["profile"].intervals["ttft_p50_ms"]
    assert interval is not None
    relative = profile(objectives={"ttft_p50_ms": {"at_most_production": 0.01}})
    arguments = ["--url", url, "--model", "tiny", "--profile", relative, *CALM]
    assert main([*arguments, "--baseline", str(tmp_path / "report.json")]) == 1
    assert "must be at most 0.01 times the baseline's" in capsys.readouterr().out
    assert "objectives.ttft_p50_ms is relative to production" in refused(capsys, *arguments)


def test_a_server_that_is_not_there_is_exit_code_1_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "http://127.0.0.1:9", "--model", "tiny", "--profile", profile(duration_s=600), "--quiet"]) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("loadtest: http://127.0.0.1:9 does not answer: connect: ")


def test_the_key_comes_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from loadtest import command
    from loadtest.__main__ import parser

    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    given = parser().parse_args(["--url", url, "--model", "tiny", "--profile", profile()])
    transports, _ = command.server(given)
    [one] = loadtest.read_profiles(profile()).values()
    assert b"Authorization: Bearer secret\r\n" in transports(one).request_head(b"{}")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("https://host/v1/", "https://host/v1"),
        ("https://host/openai/v1/chat/completions", "https://host/openai/v1"),
    ],
)
def test_a_base_url_may_be_the_servers_or_the_apis(given: str, wanted: str) -> None:
    from loadtest.command import base_url

    assert base_url(given) == wanted


URL = ("--url", "http://127.0.0.1:9/v1", "--model", "m")
WRONG: dict[str, tuple[str, str]] = {
    "kind": (profile(kind="burst"), "--profile: kind: 'burst' will not do, expected one of closed_loop, ladder,"),
    "key": (profile(duration=5), "--profile: duration: unknown key; did you mean 'duration_s'? Valid here: "),
    "value": (profile(concurrency=0), "--profile: concurrency: 0 will not do, expected greater than or equal to 1"),
    "type": (profile(duration_s="long"), "--profile: duration_s: 'long' will not do, expected a valid number"),
    "metric": (
        profile(objectives={"ttft_p98_ms": {"at_most": 1}}),
        "--profile: objectives.ttft_p98_ms: no such metric; did you mean",
    ),
    "bounds": (
        profile(objectives={"ttft_p99_ms": {}}),
        "--profile: objectives.ttft_p99_ms: an objective needs exactly one bound",
    ),
    "bound": (
        profile(objectives={"ttft_p99_ms": {"at_mots": 1}}),
        "objectives.ttft_p99_ms.at_mots: unknown key; did you mean 'at_most'?",
    ),
    "missing": (
        json.dumps({"kind": "replay", "duration_s": 1, "objectives": PROFILE["objectives"]}),
        "--profile: trace: missing; add it",
    ),
    "json": ("{kind: closed_loop", "--profile:1: is not JSON: "),
    "no file": ("none.yaml", "none.yaml: cannot be read: No such file or directory; give the path of a YAML or JSON file"),
    "prompts": (profile(prompts="none.jsonl"), "none.jsonl is not there; the load profile names it: "),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_input_is_one_clear_line_and_exit_code_2(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    given, says = WRONG[what]
    assert says in refused(capsys, *URL, "--profile", given, "--quiet")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("chat: {kind: closed_loop, concurrency: 1}", "chat.duration_s: missing; add it (and 1 more)"),
        ("chat: [1, 2", ":1: is not YAML: "),
        ("- 1", "[1] will not do, expected a load profile (kind, one of closed_loop, "),
        ("", "nothing will not do, expected a load profile"),
        (
            "one: {kind: closed_loop, concurrency: 1, duration_s: 1, objectives: {error_rate: {at_most: 0}}}\ntwo: 5",
            "two: 5 will not do, expected",
        ),
    ],
)
def test_a_bad_file_is_named_with_its_line_or_key(
    content: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "profiles.yaml"
    file.write_text(content)
    line = refused(capsys, *URL, "--profile", str(file))
    assert line.startswith(f"loadtest: {file}:")
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--url", "127.0.0.1:8000", "--model", "m"), "--url: '127.0.0.1:8000' will not do, expected http://HOST:PORT/v1"),
        (("--url", "http://127.0.0.1:9"), "--model is missing; add it"),
        ((*URL, "--tokenizer", "none.json"), "none.json is not there"),
        ((*URL, "--baseline", "none.json"), "none.json: cannot be read: No such file or directory; give the report.json"),
        ((*URL, "--metrics-url", "metrics"), "--metrics-url: 'metrics' will not do, expected http://HOST:PORT/metrics"),
        (("--endpoint", "e"), "no AWS region is known; give --region, or set AWS_REGION"),
        (("--endpoint", "e", "--region", "nowhere in particular"), "check --region"),
    ],
)
def test_bad_arguments_are_one_clear_line(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert says in refused(capsys, *arguments, "--profile", profile(), "--quiet")


def test_an_endpoint_is_measured_over_both_of_its_apis_with_files_from_s3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images.yaml"
    images.write_text(yaml.safe_dump({"images": [image_entry("*")]}))
    with running(tmp_path / "state", images) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        s3 = server.client("s3")
        s3.create_bucket(Bucket="load")
        s3.put_object(Bucket="load", Key="tiny/config.json", Body=b'{"architectures": ["Qwen3ForCausalLM"]}')
        s3.put_object(Bucket="load", Key="prompts.jsonl", Body=b'{"prompt": "one"}\n{"prompt": "two"}\n')
        source = {"S3Uri": "s3://load/tiny/", "S3DataType": "S3Prefix", "CompressionType": "None"}
        hosting = HostingClient(server.client("sagemaker"), "123456789012.dkr.ecr.us-east-1.amazonaws.com/serving:1")
        endpoint = hosting.endpoint(container={"Image": hosting.image, "ModelDataSource": {"S3DataSource": source}})
        profiles = {
            client: PROFILE | {"client": client, "prompts": "s3://load/prompts.jsonl"} for client in ("sagemaker", "openai")
        }
        arguments = ["--endpoint", endpoint, "--profile", json.dumps(profiles), *CALM]
        assert main([*arguments, "--json"]) == 0
        report = LoadTestReport.model_validate_json(capsys.readouterr().out)
        assert (report.target, list(report.profiles)) == (endpoint, ["sagemaker", "openai"])
        assert all(one.requests and not one.errors for one in report.profiles.values())
        absent = ["--endpoint", "absent", "--profile", profile(), *CALM]
        assert main(absent) == 1
        assert re.search(r"does not answer: http_400: .*absent", capsys.readouterr().err)
