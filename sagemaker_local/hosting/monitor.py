"""Once a second: metrics into CloudWatch, containers scraped that are due, alarms evaluated, variants scaled."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from sagemaker_local.cloudwatch.alarms import AlarmEvaluator
from sagemaker_local.errors import AwsError
from sagemaker_local.hosting.autoscaling import Autoscaler
from sagemaker_local.hosting.capture import DataCapture
from sagemaker_local.hosting.endpoint import Endpoints
from sagemaker_local.hosting.metrics import EndpointMetrics

if TYPE_CHECKING:
    from sagemaker_local.cloudwatch.statistics import StatisticSet
    from sagemaker_local.context import Context
    from sagemaker_local.hosting.metrics import VariantKey

INTERVAL_S = 1.0
_LOGGER = logging.getLogger(__name__)


async def run(context: Context) -> None:
    """Run until cancelled."""
    metrics = context.part(EndpointMetrics)
    alarms, autoscaler = AlarmEvaluator(context, metrics), Autoscaler(context)
    endpoints = context.part(Endpoints)
    while True:
        await asyncio.sleep(INTERVAL_S)
        memory: dict[VariantKey, list[float]] = {}
        for (region, name), endpoint in endpoints.live.items():
            for group in endpoint.groups():
                key = (region, name, group.name)
                metrics.concurrency(key, [instance.in_flight for instance in group.instances])
                memory.setdefault(key, []).extend(instance.memory_percent() for instance in group.instances)
        _scrape(context, endpoints)
        try:
            await asyncio.to_thread(_second, metrics, alarms, autoscaler, endpoints, metrics.taken(), memory)
        except Exception:
            _LOGGER.exception("metrics")


def _scrape(context: Context, endpoints: Endpoints) -> None:
    """Begin to scrape the containers that are due."""
    if not endpoints.live:
        return
    # deferred: aiohttp costs 0.2 s of a start of 0.5 s, and only who has an endpoint needs it
    from sagemaker_local.hosting import observability

    context.part(observability.Scraper).scrape(
        (instance, every_s)
        for endpoint in endpoints.live.values()
        for fleet in (endpoint.traffic.fleets if endpoint.traffic else [])
        if (every_s := observability.interval_s(fleet.config)) is not None
        for group in fleet.variants.values()
        for instance in group.instances
    )


def _second(
    metrics: EndpointMetrics,
    alarms: AlarmEvaluator,
    autoscaler: Autoscaler,
    endpoints: Endpoints,
    values: dict[VariantKey, dict[str, StatisticSet]],
    memory: dict[VariantKey, list[float]],
) -> None:
    metrics.publish(values)
    metrics.publish_memory(memory)
    metrics.context.part(DataCapture).flush()
    if time.monotonic() >= metrics.compact_at:
        metrics.compact()
    alarms.evaluate(metrics.context.moto.regions("cloudwatch"))
    autoscaler.observe(values)
    for (region, name, variant), count in autoscaler.wanted(metrics.context.moto.regions("application-autoscaling")).items():
        try:
            endpoints.resize(region, name, {variant: (None, count)})
        except AwsError as error:  # it is being updated: the next second will ask again
            _LOGGER.info("endpoint %s: not scaled to %s now: %s", name, count, error.message)
