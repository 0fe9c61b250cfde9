"""`make demo`: a whole release on this machine, its report, one question to production; then everything is stopped (KEEP=1 leaves it up)."""

from __future__ import annotations

import os
import sys

from config.errors import ConfigError
from pipelines import commands, local
from pipelines.errors import CommandError
from pipelines.report import report

QUESTION = "Which city is the capital of France?"


def main() -> int:
    """Run the demo; returns the exit code."""
    model = sys.argv[1]
    keep = bool(os.environ.get("KEEP"))
    try:
        commands.release(model, "local", follow=True, as_json=False)
        print(f"\nwhat was measured, for a browser: {report(model, 'local', None, None)}")
        print(f"\n{QUESTION}\n> ", end="", flush=True)
        commands.ask(model, "local", QUESTION, max_tokens=48)
    except (ConfigError, CommandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    finally:
        if keep:
            print("\nLeft running; stop it with: .venv/bin/python -m pipelines.run local down")
        else:
            local.down()
            print("\nAll of it is stopped again; make demo KEEP=1 leaves production up.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
