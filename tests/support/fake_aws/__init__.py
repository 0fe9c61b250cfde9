"""AWS as objects of this process, for tests of what a step does when AWS says this or that: a promotion in milliseconds.

`FakeAws` gives clients that take and return what boto3's do. Every request is checked against botocore's own shapes, and is on record
with the role that made it. Endpoints change at the second look at them; what their engine does stands in `simulated.json` among the
weights, as for the simulated engine. That the same promotion works against servers, `tests/steps/promote/test_updates.py` shows.
"""

from tests.support.fake_aws.aws import FakeAws

__all__ = ["FakeAws"]
