"""The command lines that messages tell a person to type next."""

from __future__ import annotations

import shlex


def command(env: str, *words: object) -> str:
    """`python -m pipelines.run` with these words; `env` as it was given to the command that says so, and left out where it is the default."""
    return shlex.join(["python", "-m", "pipelines.run", *map(str, words), *([] if env == "local" else ["--env", env])])
