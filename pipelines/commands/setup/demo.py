"""`make demo`: a whole release on this machine, its report, one question to production; then everything is stopped (KEEP=1 leaves it up)."""

from __future__ import annotations

import os
import signal
import sys

from pipelines.commands import failures
from pipelines.commands.releases import release
from pipelines.commands.views import ask, report
from pipelines.errors import Interrupted
from pipelines.setup.local import stack

QUESTION = "Which city is the capital of France?"


def main() -> int:
    """Run the demo; return the exit code."""
    model = sys.argv[1]
    keep = bool(os.environ.get("KEEP"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends as with Ctrl-C: what was started is stopped
    try:
        release.release(model, "local", follow=True, as_json=False)
        print(f"\nwhat was measured, for a browser: {report.report(model, 'local', None, None)}")
        print(f"\n{QUESTION}\n> ", end="", flush=True)
        ask.ask(model, "local", QUESTION, max_tokens=48)
    except (KeyboardInterrupt, Interrupted) as error:
        print(f"\n{error}" if keep else "\ninterrupted: the release ends here; what was fetched already is kept", file=sys.stderr)
        return Interrupted.exit_code
    except Exception as error:
        exit_code = failures.report(error, as_json=False)
        if exit_code is None:
            raise
        return exit_code
    finally:
        if keep:
            print("\nLeft running; stop it with: .venv/bin/python -m pipelines.run local down")
        else:
            stack.down()
            print("\nAll of it is stopped again; make demo KEEP=1 leaves production up.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
