"""Where diagnostics go: `logging`'s warnings and errors, ours and the libraries', one line each on standard error. Answers are printed."""

from __future__ import annotations

import logging
import sys


class _StandardError(logging.Handler):
    """Writes `level: message` to what standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        print(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)


def configure() -> None:
    """Send warnings and errors to standard error. Idempotent."""
    root = logging.getLogger()
    if not any(isinstance(handler, _StandardError) for handler in root.handlers):
        root.addHandler(_StandardError())
