"""What a manifest must show before it is written, as a great_expectations suite over its files beside the Hub's listing.

pydantic has checked the manifest's form; this checks it against its source, file by file. great_expectations takes six seconds to
import: a small model is fetched and served in less, so the suite runs for large ones, and on request.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable
from typing import Any

from delivery.errors import DeliveryError
from delivery.hub.fetch_settings import MAX_OBJECT_BYTES
from delivery.hub.selection import Selection
from delivery.weights.manifest import Manifest

logger = logging.getLogger(__name__)

LARGE_BYTES = 10_000_000_000
"""A fetch of this size takes longer than the suite, by far."""


def checker(wanted: bool | None) -> Callable[[Manifest, Selection], None] | None:
    """Return what checks a manifest before it is written.

    Args:
        wanted: Run the suite; or not; None: for a large model, if great_expectations is installed.

    Returns:
        The check; None for none.

    Raises:
        DeliveryError: It is wanted and not installed. Nothing was fetched yet.
    """
    if wanted is False:
        return None
    if importlib.util.find_spec("great_expectations") is None:
        if wanted:
            raise DeliveryError("--expectations needs great_expectations; install it in the image that steps run in")
        return None
    return check if wanted else _check_large


def _check_large(manifest: Manifest, selection: Selection) -> None:
    if selection.total_bytes >= LARGE_BYTES:
        check(manifest, selection)


def check(manifest: Manifest, selection: Selection) -> None:
    """Run the suite; DeliveryError naming every expectation that is not met, with the values that broke it."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # before the import: it would call home
    gx: Any = importlib.import_module("great_expectations")  # optional, and 6 s; no type hints that hold
    pandas: Any = importlib.import_module("pandas")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    frame = pandas.DataFrame(_rows(manifest, selection))
    batch = context.data_sources.add_pandas("manifest").add_dataframe_asset("files").add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name="manifest", expectations=_expectations(gx, selection)))
    validation = context.validation_definitions.add(gx.ValidationDefinition(name="manifest", data=batch, suite=suite))
    results = validation.run(batch_parameters={"dataframe": frame}).results
    broken = [_story(result) for result in results if not result.success]
    if broken:
        raise DeliveryError(
            f"the manifest of {selection.repository} at {selection.revision} is not what the Hub listed: {'; '.join(broken)}. Nothing was "
            "registered; start the step again, and report it when it says the same"
        )
    logger.info(f"the manifest meets {len(results)} expectations")


def _rows(manifest: Manifest, selection: Selection) -> list[dict[str, Any]]:
    """Make one row for every path that either side knows."""
    files = {f.path: f for f in manifest.files}
    listed = {f.path: f for f in selection.files}
    rows = []
    for path in sorted(files.keys() | listed.keys()):
        file, source = files.get(path), listed.get(path)
        in_lfs = source is not None and source.sha256 is not None
        rows.append(
            {
                "path": path,
                "size": file.size if file else None,
                "hub_size": source.size if source else None,
                "sha256": file.sha256 if file else None,
                "crc64nvme": file.crc64nvme if file else None,
                "digest": (file.sha256 if in_lfs else file.git_blob_sha1) if file else None,
                "hub_digest": (source.sha256 or source.blob_sha1) if source else None,
            }
        )
    return rows


def _expectations(gx: Any, selection: Selection) -> list[Any]:
    e = gx.expectations
    columns = ("size", "hub_size", "sha256", "crc64nvme", "digest", "hub_digest")
    return [
        e.ExpectTableRowCountToEqual(value=len(selection.files)),
        e.ExpectColumnValuesToBeUnique(column="path"),
        *(e.ExpectColumnValuesToNotBeNull(column=column) for column in columns),
        e.ExpectColumnValuesToBeBetween(column="size", min_value=0, max_value=MAX_OBJECT_BYTES),
        e.ExpectColumnSumToBeBetween(column="size", min_value=selection.total_bytes, max_value=selection.total_bytes),
        e.ExpectColumnValuesToMatchRegex(column="sha256", regex="^[0-9a-f]{64}$"),
        e.ExpectColumnValuesToMatchRegex(column="crc64nvme", regex="^[A-Za-z0-9+/]{11}=$"),
        e.ExpectColumnPairValuesToBeEqual(column_A="size", column_B="hub_size"),
        e.ExpectColumnPairValuesToBeEqual(column_A="digest", column_B="hub_digest"),
    ]


def _story(result: Any) -> str:
    config = result.expectation_config
    where = (
        config.kwargs.get("column")
        or "/".join(config.kwargs[k] for k in ("column_A", "column_B") if k in config.kwargs)
        or "files"
    )
    seen = result.result.get("partial_unexpected_list") or result.result.get("observed_value")
    return f"{config.type} ({where}): {str(seen)[:200]}"
