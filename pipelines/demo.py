"""`make demo`: a whole release on this machine, one question to production, then everything is stopped (KEEP=1 leaves it up)."""

from __future__ import annotations

import os
import sys

from config.errors import ConfigError
from pipelines import commands, local
from pipelines.errors import CommandError

QUESTION = "Which city is the capital of France?"


def main() -> int:
    """Run the demo; returns the exit code."""
    model = sys.argv[1]
    keep = bool(os.environ.get("KEEP"))
    try:
        commands.release(model, "local", follow=True, as_json=False)
        print(f"\n{QUESTION}\n> ", end="", flush=True)
        commands.ask(model, "local", QUESTION, max_tokens=48)
    except (ConfigError, CommandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    finally:
        if keep:
            print("\nLeft running; stop it with: make clean, or .venv/bin/python -m pipelines.run local down")
        else:
            local.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
