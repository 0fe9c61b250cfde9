"""A great_expectations suite over the table of requests: for a reviewer who wants to know which rows broke which expectation.

Each latency objective of a percentile is an expectation on rows: `ttft_p99_ms at most 1500` is that 99 % of the rows are within 1500 ms.
The suite does not decide; the gate's conditions do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.profiles import LoadProfile
from steps.evaluate_staging.models import Expectations

_COLUMNS = {"ttft": "ttft_ms", "ttfo": "ttfo_ms", "e2e": "e2e_ms", "tpot": "tpot_ms", "itl": "itl_max_ms"}
_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_UNEXPECTED_ROWS = 20
_NAMED_ROWS = 5  # in evaluation.json and the report; the data docs have all
_INDEX = ("intended_s", "message")


def check(columns: dict[str, list[Any]], profiles: Mapping[str, LoadProfile], docs: Path) -> Expectations | None:
    """Check every profile's measured requests and write the data docs into `docs`; None where great_expectations is not installed."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")  # it reports its use otherwise
    try:
        import great_expectations as gx  # optional, and 6 s
    except ImportError:
        return None
    import pandas  # type: ignore[import-untyped]  # deferred: comes with it
    from great_expectations.data_context.types.base import ProgressBarsConfig

    frame = pandas.DataFrame(columns)
    if frame.empty:
        return None
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    _data_docs(context, docs)
    source = context.data_sources.add_pandas("requests")
    definitions, frames = {}, {}
    for name, profile in profiles.items():
        frames[name] = frame[(frame["profile"] == name) & frame["measured"]]
        if frames[name].empty:
            continue
        batch = source.add_dataframe_asset(name=name).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=list(_expectations(gx, profile))))
        definitions[name] = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    results = {
        name: definition.run(batch_parameters={"dataframe": frames[name]}, result_format=_result_format())
        for name, definition in definitions.items()
    }
    context.build_data_docs()
    outcomes = [(name, result) for name, found in results.items() for result in found.results]
    failed = [_line(name, result) for name, result in outcomes if not result.success]
    return Expectations(success=not failed, checked=len(outcomes), failed=failed)


def _expectations(gx: Any, profile: LoadProfile) -> Any:
    bound = profile.objectives.get("error_rate")
    allowed = bound.at_most if bound is not None and bound.at_most is not None else 0.0
    yield gx.expectations.ExpectColumnValuesToBeNull(column="error", mostly=1 - allowed)
    yield gx.expectations.ExpectColumnValuesToBeInSet(column="finish_reason", value_set=["stop", "length", "tool_calls"])
    for name, objective in profile.objectives.items():
        if name.endswith("_ms") and objective.at_most is not None:
            latency, percentile, _ = name.split("_")
            # For ITL the row has its worst gap: a row that breaks it had a stall, though the objective is on all gaps together.
            yield gx.expectations.ExpectColumnValuesToBeBetween(
                column=_COLUMNS[latency], max_value=objective.at_most, mostly=_SHARES[percentile], notes=f"objective {name}"
            )


def _result_format() -> dict[str, Any]:
    return {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": list(_INDEX),
        "partial_unexpected_count": _UNEXPECTED_ROWS,
    }


def _data_docs(context: Any, docs: Path) -> None:
    for name in list(context.variables.data_docs_sites or {}):
        context.delete_data_docs_site(name)  # its own default, in a temporary folder
    context.add_data_docs_site(
        site_name="requests",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
        },
    )


def _line(profile: str, result: Any) -> str:
    """Say what did not hold, on how many rows, and which.

    As in `chat: ttft_ms at most 900 in 99% of the rows (objective ttft_p99_ms): …`.
    """
    config, found = result.expectation_config, result.result
    if result.exception_info and result.exception_info.get("raised_exception"):
        return f"{profile}: {config.type} could not be checked: {result.exception_info.get('exception_message')}"
    rows = found.get("unexpected_index_list") or []
    named = "; ".join(_row(row) for row in rows[:_NAMED_ROWS])
    more = f", and {len(rows) - _NAMED_ROWS} more" if len(rows) > _NAMED_ROWS else ""
    count, of = found.get("unexpected_count", len(rows)), found.get("element_count", 0)
    return f"{profile}: {_words(config)}: {count} of {of} rows break it: {named}{more}"


def _words(config: Any) -> str:
    """Put an expectation as people read it."""
    kwargs = config.kwargs
    column, notes = kwargs.get("column", ""), config.notes
    what = {
        "expect_column_values_to_be_null": f"no {column}",
        "expect_column_values_to_be_in_set": f"{column} is one of {', '.join(kwargs.get('value_set', []))}",
        "expect_column_values_to_be_between": f"{column} at most {kwargs.get('max_value', 0):g}",
    }.get(config.type, f"{config.type} on {column}")
    mostly = kwargs.get("mostly")
    share = f" in {mostly:.1%} of the rows".replace(".0%", "%") if mostly is not None and mostly < 1 else ""
    return f"{what}{share}" + (f" ({notes})" if notes else "")


def _row(row: dict[str, Any]) -> str:
    """Name one row, by when it was due, and what is wrong with it."""
    wrong = [value for name, value in row.items() if name != "intended_s" and value is not None and value == value]
    why = ", ".join(f"{value:.0f}" if isinstance(value, float) else str(value) for value in wrong)
    return f"due at {row['intended_s']:.3f} s" + (f" ({why})" if why else "")
