"""`python -m container.engines.simulated --model-path DIR [flags of SGLang] [--sim-ttft-ms 200 ...]`.

Accepts every flag of the pinned SGLang; `--max-running-requests`, `--max-total-tokens`, `--context-length`,
`--served-model-name`, `--enable-cache-report`, `--enable-metrics`, `--host` and `--port` mean something. Latencies, text and
faults are in `container/engines/simulated/settings.py`.
"""

from __future__ import annotations

import os
import sys

from container.engines import arguments
from container.engines.simulated import settings
from container.engines.simulated.engine import Simulated
from container.engines.surface import serve
from container.errors import EngineError
from container.flags import FlagTable


def main(words: list[str] | None = None) -> int:
    """Run the command; return the exit code (2 for flags or settings that are wrong)."""
    table = FlagTable.load()
    parser = arguments.parser("python -m container.engines.simulated", "SGLang's surface, simulated", table)
    settings.add_flags(parser)
    options = parser.parse_args(words)
    try:
        engine = Simulated(
            settings.collect(options, os.environ),
            options.context_length,
            reports_cache=bool(options.enable_cache_report),
            max_total_tokens=options.max_total_tokens,
        )
    except EngineError as error:
        sys.stderr.write(f"simulated: {error}\n")
        return 2
    return serve(engine, options, table.version)


if __name__ == "__main__":
    raise SystemExit(main())
