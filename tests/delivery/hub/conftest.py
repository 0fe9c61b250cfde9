"""A Hub's folder, and an AWS with a Secrets Manager, as the tests of the fetch have them."""

from tests.steps.fetch_weights.conftest import aws, moto, root

__all__ = ["aws", "moto", "root"]
