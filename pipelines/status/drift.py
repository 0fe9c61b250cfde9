"""Drift: an audit of the production endpoint against the ledger. What differs, somebody changed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from delivery.aws import client_errors
from delivery.history import serving_history
from delivery.history.ledger import Event
from pipelines.status.statuses import ProductionStatus

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_sagemaker import SageMakerClient


def find_drift(events: Iterable[Event], production: ProductionStatus, sagemaker: SageMakerClient) -> Iterator[str]:
    """Yield a sentence for each way in which the endpoint differs from what the ledger's last promotion or rollback left there.

    Args:
        events: The model's ledger.
        production: The endpoint as it is.
        sagemaker: A client of production's account.

    >>> found = ProductionStatus("chat", "111122223333", "InService")
    >>> next(find_drift([], found, None))
    'the endpoint chat exists, but this project did not make it'
    """
    now = serving_history.serving_lineage(events)
    if not now:
        if production.status != "absent" and production.version is None:
            yield f"the endpoint {production.endpoint} exists, but this project did not make it"
        elif production.status != "absent":
            yield f"the endpoint {production.endpoint} serves version {production.version}, but by the ledger nothing is in production"
        return
    left = serving_history.DeployedVersion.of(now[-1])
    if production.status == "absent":
        yield f"the endpoint {production.endpoint} is gone; the ledger says that it serves version {now[-1].version}"
        return
    if production.config != left.config:
        yield (
            f"the endpoint serves the config {production.config} (version {production.version or 'unknown'}), the ledger says {left.config} "
            f"(version {now[-1].version})"
        )
    for variant in production.variants:
        bounds = left.instance_bounds or (left.instance_count, left.instance_count)
        if not bounds[0] <= variant.desired_instances <= bounds[1]:
            wanted = str(bounds[0]) if bounds[0] == bounds[1] else f"{bounds[0]} to {bounds[1]}"
            yield f"the variant {variant.name} wants {variant.desired_instances} instances, the ledger says {wanted}"
    if len(production.variants) > 1:
        names = ", ".join(f"{variant.name} ({variant.weight:g})" for variant in production.variants)
        yield f"the endpoint has {len(production.variants)} variants: {names}; this project makes one"
    yield from _container_drift(left, now[-1].model_package, production, sagemaker)


def _container_drift(
    left: serving_history.DeployedVersion, model_package: str | None, production: ProductionStatus, sagemaker: SageMakerClient
) -> Iterator[str]:
    """Compare the container. A config and a model cannot be changed, but deleted and made again under the same name."""
    if production.config != left.config:
        return
    try:
        variants = sagemaker.describe_endpoint_config(EndpointConfigName=left.config)["ProductionVariants"]
        model = sagemaker.describe_model(ModelName=variants[0]["ModelName"])
    except ClientError as error:
        if not client_errors.is_absent(error):
            raise
        yield f"the endpoint config {left.config}, or its model, was deleted; the endpoint goes on, but cannot be scaled or updated back"
        return
    container = model.get("PrimaryContainer") or {}
    package = container.get("ModelPackageName")
    if package is not None and package != model_package:
        yield f"the model {model['ModelName']} is made from {package}, the ledger says {model_package}"
