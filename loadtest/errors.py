"""The errors of this package.

LoadTestError       a load could not be put on, or not measured
└─ InvalidInput     a trace, a prompts file or a tokenizer is not what it should be: trying again changes nothing
"""


class LoadTestError(Exception):
    """Something failed at run time. The message says what, with which value, and what to do next."""


class InvalidInput(LoadTestError):
    """What a load is made of can never work. The message names the file and the line."""
