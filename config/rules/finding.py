"""What a rule found."""

from __future__ import annotations

from dataclasses import dataclass

from config.errors import Location


@dataclass(frozen=True)
class Finding:
    """One thing in a file: where, what, what was expected and what to do."""

    location: Location
    message: str
    code: str
    """What kind of mistake it is, for programs: words with dashes."""
    is_error: bool = True
    """Whether it cannot work; False: it works and is worth a thought."""

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.location))}: {self.message}"
