"""Every flag, in every spelling, through `serve`'s rules into SGLang's own parser. Runs where SGLang is installed."""

from __future__ import annotations

import argparse
import importlib
import importlib.util

import pytest

from container import launch
from container.flags import FlagTable

pytestmark = pytest.mark.skipif(importlib.util.find_spec("sglang") is None, reason="SGLang is not installed")

SAMPLES = {"str": "x", "int": "3", "float": "0.5", "json": '{"a": "b c"}', "json-list": '["a b"]', "size": "32k"}
OWN_FORMAT = {"--cuda-graph-config", "--model-path"}


def test_sglang_takes_what_serve_makes() -> None:
    server_args = importlib.import_module("sglang.srt.server_args")
    parser = argparse.ArgumentParser()
    server_args.ServerArgs.add_cli_args(parser)
    table = FlagTable.load()
    for flag in table.flags:
        if flag.name in OWN_FORMAT:
            continue
        value = str(flag.choices[0]) if flag.choices else SAMPLES.get(flag.type, "")
        for spelling in (*flag.spellings, *flag.negative):
            for given in ("true", "false") if flag.is_switch else (value,):
                variable = "SM_SGLANG_" + spelling.lstrip("-").replace("-", "_").upper()
                parser.parse_args(list(launch.plan({variable: given}, table, ["s"]).argv[1:]))
