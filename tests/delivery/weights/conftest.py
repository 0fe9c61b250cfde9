"""An S3 with conditional writes, as the tests of the fetch have one."""

from tests.steps.fetch_weights.conftest import seaweed

__all__ = ["seaweed"]
