"""The command lines that messages tell a person to type next."""

from __future__ import annotations

import shlex


def command(env: str, *words: object) -> str:
    """Write a `python -m pipelines.run` command line with these words; `env` is as it was given, and left out where it is the default.

    >>> command("aws", "approve", "qwen3-32b", 7, "--comment", "good numbers")
    "python -m pipelines.run approve qwen3-32b 7 --comment 'good numbers' --env aws"
    """
    return shlex.join(["python", "-m", "pipelines.run", *map(str, words), *([] if env == "local" else ["--env", env])])
