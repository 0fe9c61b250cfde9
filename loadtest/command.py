"""The command `python -m loadtest`: from arguments to a table or JSON."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from pathlib import Path
from urllib.parse import urlsplit

import botocore.session
from botocore.exceptions import BotoCoreError
from pydantic import ValidationError

from loadtest import table
from loadtest.errors import InvalidInput
from loadtest.load_test import Transports, measure
from loadtest.measurement import request_table
from loadtest.measurement.measurement import Measurement
from loadtest.profile_file import read_profiles
from loadtest.report import LoadTestReport
from loadtest.server.page import metrics_address, metrics_address_beside
from loadtest.transports import Transport
from loadtest.transports.openai import OpenAITransport
from loadtest.transports.sagemaker import SageMakerTransport

API_KEY = "OPENAI_API_KEY"
REPORT_FILE, REQUESTS_FILE = "report.json", "requests.parquet"


def run(given: Namespace) -> tuple[str, int]:
    """Do what the arguments say.

    Args:
        given: as `loadtest.__main__` parses them.

    Returns:
        What to print, and the exit code: 0 when every objective is met, 1 when one is missed or cannot be decided.

    Raises:
        InvalidInput: an argument or a file can never work.
        LoadTestError: nothing could be measured.
    """
    logging.basicConfig(level=logging.WARNING if given.quiet else logging.INFO, format="%(message)s", stream=sys.stderr)
    profiles = read_profiles(given.profile)
    transports, target = server(given)
    report, measurements = measure(
        transports,
        profiles,
        target=target,
        tokenizer=given.tokenizer,
        processes=given.processes,
        lag_at_most_ms=given.lag_at_most_ms,
        usd_per_hour=given.usd_per_hour,
        baseline=_baseline(given.baseline) if given.baseline else None,
        seed=given.seed,
        metrics_url=metrics_page(given),
    )
    if given.out:
        _write(given.out, report, measurements)
    shown = report.model_dump_json(indent=2) if given.json else table.render(report)
    return shown, 0 if report.verdict == "passed" else 1


def server(given: Namespace) -> tuple[Transports, str]:
    """Return the ways to the server that the arguments name, one for each profile, and what the report calls it."""
    if given.url:
        url, key = base_url(given.url), os.environ.get(API_KEY, "")
        if not given.model:
            raise InvalidInput("--model is missing; add it: the model's name as the server knows it (GET URL/models lists them)")
        openai = OpenAITransport(url, key, given.model)
        return lambda _: openai, url
    session = botocore.session.get_session()
    region = given.region or session.get_config_variable("region")
    if not region:
        raise InvalidInput("no AWS region is known; give --region, or set AWS_REGION")
    try:
        client = session.create_client("sagemaker-runtime", region_name=region)
        if session.get_credentials() is None:
            raise InvalidInput("no AWS credentials were found; set AWS_PROFILE, or log in as for the AWS CLI")
    except (BotoCoreError, ValueError) as error:
        raise InvalidInput(f"no client for SageMaker in {region!r}: {error}; check --region and AWS_PROFILE") from error
    runtime: str = client.meta.endpoint_url
    ways: dict[str, Transport] = {
        "sagemaker": SageMakerTransport(given.endpoint, region, runtime),
        "openai": OpenAITransport.of_endpoint(runtime, given.endpoint, region),
    }
    return lambda profile: ways[profile.client], given.endpoint


def metrics_page(given: Namespace) -> str | None:
    """Return the address of the server's metrics page; None where it is not to be asked, and behind a SageMaker endpoint, which hands on none."""
    if given.metrics_url is None:
        return metrics_address_beside(base_url(given.url)) if given.url else None
    return None if given.metrics_url == "none" else metrics_address(given.metrics_url)


def base_url(url: str) -> str:
    """Return the address as OpenAI clients are given it: a bare server's API is below /v1."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidInput(
            f"--url: {url!r} will not do, expected http://HOST:PORT/v1 or https://HOST/v1; give the server's base URL"
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _baseline(path: Path) -> LoadTestReport:
    try:
        return LoadTestReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}; give the {REPORT_FILE} of an earlier run") from error
    except ValidationError as error:
        [first, *_] = error.errors()
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidInput(f"{path}: is no report: {place}: {first['msg']}; give the {REPORT_FILE} of an earlier run") from error


def _write(folder: Path, report: LoadTestReport, measurements: dict[str, Measurement]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT_FILE).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        request_table.write(request_table.build(measurements), folder / REQUESTS_FILE)
    except OSError as error:
        raise InvalidInput(f"--out: {folder} cannot be written: {error.strerror}; give a folder that you may write to") from error
