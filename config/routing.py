"""Which instance of production answers a request, one class a strategy, each knowing SageMaker's words for it.

Source: the API reference of `ProductionVariantRoutingConfig` and `PrefixAwareRoutingConfig`. KV_AWARE is not here: it "works only with
supported containers, such as the SageMaker AI vLLM Deep Learning Container".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from config.base import Strict


class LeastOutstanding(Strict):
    """The instance with the fewest requests in flight."""

    strategy: Literal["least_outstanding"]
    """Which strategy this is."""

    def routing_config(self) -> dict[str, Any]:
        """Return the boto3 `RoutingConfig`."""
        return {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}


class Random(Strict):
    """Any instance."""

    strategy: Literal["random"]
    """Which strategy this is."""

    def routing_config(self) -> dict[str, Any]:
        """Return the boto3 `RoutingConfig`."""
        return {"RoutingStrategy": "RANDOM"}


class PrefixAware(Strict):
    """Requests that begin alike go to the same instance, whose RadixAttention has that beginning in its cache; works from two instances on."""

    strategy: Literal["prefix_aware"]
    """Which strategy this is."""
    prefix_bytes: Annotated[int, Field(ge=1024, le=65536)] = 4096
    """How much of a request's beginning decides. Bytes of the body (OpenAI's path: characters of the messages)."""
    concurrency_threshold: Annotated[int, Field(ge=1, le=1024)] = 32
    """From how many requests in flight on its instance on a request goes to another one."""

    def routing_config(self) -> dict[str, Any]:
        """Return the boto3 `RoutingConfig`."""
        limits = {"PrefixLength": self.prefix_bytes, "ConcurrencyThreshold": self.concurrency_threshold}
        return {"RoutingStrategy": "PREFIX_AWARE", "PrefixAwareRoutingConfig": limits}


Routing = Annotated[LeastOutstanding | Random | PrefixAware, Field(discriminator="strategy")]
"""Every routing strategy, told apart by `strategy`."""
