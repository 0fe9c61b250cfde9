"""The rules of composite alarms: ``ALARM("a") AND (OK(b) OR NOT INSUFFICIENT_DATA(c))``.

PutCompositeAlarm's API reference (AlarmRule) has the language: ``ALARM``, ``OK`` and ``INSUFFICIENT_DATA`` of an alarm's name or ARN,
``TRUE``, ``FALSE``, parentheses, and ``NOT`` before ``AND`` before ``OR``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sagemaker_local.errors import AlarmRuleError

_TOKEN = re.compile(
    r"\s*(?:(?P<state>ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:\"(?P<quoted>[^\"]+)\"|'(?P<single>[^']+)'|(?P<bare>[^\s()\"']+))\s*\)"
    r"|(?P<word>AND|OR|NOT|TRUE|FALSE)\b|(?P<mark>[()]))"
)

StateOf = Callable[[str], str]
"""The state of an alarm by its name."""


def holds(rule: str, state_of: StateOf) -> bool:
    """Return whether a rule is true now.

    Raises:
        AlarmRuleError: it cannot be read.

    >>> holds("ALARM(slow) AND NOT OK(failing)", {"slow": "ALARM", "failing": "ALARM"}.__getitem__)
    True
    """
    reader = _Reader(rule, state_of)
    value = reader.either()
    reader.end()
    return value


class _Reader:
    """Reads a rule from left to right, and evaluates it as it goes."""

    def __init__(self, rule: str, state_of: StateOf) -> None:
        self._rule, self._state_of, self._at = rule, state_of, 0

    def either(self) -> bool:
        """Return ``a OR b``."""
        value = self._both()
        while self._take("OR"):
            value = self._both() or value
        return value

    def end(self) -> None:
        """Nothing is left."""
        if self._rule[self._at :].strip():
            raise self._error()

    def _both(self) -> bool:
        value = self._one()
        while self._take("AND"):
            value = self._one() and value
        return value

    def _one(self) -> bool:
        if self._take("NOT"):
            return not self._one()
        if self._take("("):
            value = self.either()
            if not self._take(")"):
                raise self._error()
            return value
        found = _TOKEN.match(self._rule, self._at)
        if found is None or (found["state"] is None and found["word"] not in ("TRUE", "FALSE")):
            raise self._error()
        self._at = found.end()
        if found["state"] is None:
            return bool(found["word"] == "TRUE")
        name = found["quoted"] or found["single"] or found["bare"]
        return self._state_of(name.partition(":alarm:")[2] or name) == found["state"]

    def _take(self, text: str) -> bool:
        found = _TOKEN.match(self._rule, self._at)
        if found is None or text not in (found["word"], found["mark"]):
            return False
        self._at = found.end()
        return True

    def _error(self) -> AlarmRuleError:
        return AlarmRuleError(f"AlarmRule cannot be read at {self._rule[self._at : self._at + 40]!r}")
