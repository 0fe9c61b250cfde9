"""The errors of this package, one tree.

LoadTestError           a load could not be put on, or not measured
├─ InvalidInput         a profile, a trace, a prompts file or a tokenizer can never work: trying again changes nothing
└─ OutOfTime            a load would not end before the endpoint expires

RequestError            one request has no whole answer; `kind` is its error class. It becomes a record's `error` and never leaves the client
├─ HttpError            connect, closed, timeout, protocol
└─ StreamError          an error inside a stream that began well

MalformedPage           a server's metrics page is not in Prometheus' format. It becomes a note and never leaves the sampler, nor does an
                        HttpError of such a page
"""

from __future__ import annotations


class LoadTestError(Exception):
    """A load that could not be put on or measured. The message says what failed, with which value, and what to do next."""


class InvalidInput(LoadTestError):
    """An input that can never work. The message names the file, the line or key, the value, and what was expected."""


class OutOfTime(LoadTestError):
    """A load that would not end before the endpoint expires."""


class RequestError(Exception):
    """A request without a whole answer."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        """The error class that the request is counted under."""


class HttpError(RequestError):
    """A failure of the connection or of HTTP itself. `kind` is connect, closed, timeout or protocol."""


class StreamError(RequestError):
    """An error inside a stream that began well."""


class MalformedPage(Exception):
    """A metrics page that is not in Prometheus' text format. The message names the line."""
