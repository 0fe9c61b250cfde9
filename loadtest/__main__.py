"""`python -m loadtest`: put load on an OpenAI-compatible server or a SageMaker endpoint, and judge it by its objectives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.errors import InvalidInput, LoadTestError

_EPILOG = """\
The key of an OpenAI-compatible server is read from OPENAI_API_KEY; AWS credentials are found as the AWS CLI finds them, and
AWS_ENDPOINT_URL is respected. Exit code 0: every objective is met. 1: one is missed, cannot be decided or could not be measured.
2: bad input. For example:

  python -m loadtest --url http://127.0.0.1:8000/v1 --model tiny --profile chat.yaml --out results
  python -m loadtest --endpoint qwen3-32b --region us-west-2 --profile chat.yaml

loadtest/README.md has a first profile and every metric."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="python -m loadtest", description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    server = made.add_mutually_exclusive_group(required=True)
    server.add_argument("--url", help="base URL of an OpenAI-compatible server, as in http://127.0.0.1:8000/v1")
    server.add_argument("--endpoint", metavar="NAME", help="a SageMaker endpoint")
    made.add_argument("--model", metavar="NAME", help="the model, as the server of --url knows it")
    made.add_argument("--region", help="the endpoint's AWS region (default: as the AWS CLI finds it)")
    made.add_argument(
        "--profile", required=True, metavar="FILE|JSON", help="load profiles: a YAML or JSON file, or the JSON itself"
    )
    made.add_argument(
        "--tokenizer", metavar="FILE", help="the model's tokenizer.json: exact prompts, and token counts that are checked"
    )
    made.add_argument(
        "--metrics-url",
        metavar="URL|none",
        help="the server's Prometheus page, sampled beside the load (default: /metrics of --url's server); it decides nothing",
    )
    made.add_argument(
        "--baseline", type=Path, metavar="FILE", help="report.json of an earlier run, for objectives relative to it"
    )
    made.add_argument(
        "--usd-per-hour", type=float, metavar="USD", help="what the server costs, for the price of a million tokens"
    )
    made.add_argument(
        "--seed", metavar="TEXT", help="ask what an earlier run with this seed asked (default: prompts that no run asked before)"
    )
    made.add_argument("--processes", type=int, metavar="N", help="client processes at most (default: one a core)")
    made.add_argument(
        "--lag-at-most-ms",
        type=float,
        default=50.0,
        metavar="MS",
        help="a client later than this (p99) makes the run invalid (default: 50)",
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="write report.json and requests.parquet there")
    made.add_argument("--json", action="store_true", help="print the report as JSON instead of a table")
    made.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and run; returns the exit code."""
    given = parser().parse_args(arguments)

    from loadtest import command  # deferred: costs 0.5 s, and --help and a misspelt option need none of it

    try:
        shown, code = command.run(given)
    except LoadTestError as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidInput) else 1
    except KeyboardInterrupt:
        return 130
    print(shown)
    return code


if __name__ == "__main__":
    sys.exit(main())
