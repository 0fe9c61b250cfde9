"""The errors of the serving image: every one of them becomes a single line on stderr and an exit code.

ContainerError
├── LaunchRefused   the settings cannot start a server (exit code 2)
├── FlagTableError  sglang_flags.json cannot be read
└── EngineError     a stand-in for SGLang cannot load its model
"""

from __future__ import annotations

__all__ = ["ContainerError", "EngineError", "FlagTableError", "LaunchRefused"]


class ContainerError(Exception):
    """Base of everything that `container/` raises on purpose. Its text is one line, fit for a log."""

    exit_code = 1


class LaunchRefused(ContainerError):
    """The settings cannot start a server: nothing was started. Exit code 2, as argparse and SGLang use."""

    exit_code = 2


class FlagTableError(ContainerError):
    """`sglang_flags.json` is missing or is not what `python -m container.export_flags` writes."""


class EngineError(ContainerError):
    """An engine cannot load its model or its settings make no sense."""
