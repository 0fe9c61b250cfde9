"""How hosting's resources are shown: variants in DescribeEndpoint, and everything in EventBridge events.

"Events that Amazon SageMaker AI sends to Amazon EventBridge" in the developer guide: an event's detail is the Describe action's
answer, with times in milliseconds and tags as a mapping. A deployment's stages and their messages are from the same page.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from sagemaker_local.state.tags import Tags

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.hosting.deployment import Deployment
    from sagemaker_local.hosting.instances.fleet import Fleet, VariantFleet

Record = dict[str, Any]

_TIMES = ("CreationTime", "LastModifiedTime", "StartTime")


def changed(context: Context, region: str, event: str, arn: str, record: Record) -> None:
    """Send a resource's state change; ``event`` is its detail-type, ``record`` the Describe action's answer."""
    detail = _in_milliseconds(record)
    if "EndpointStatus" in detail:
        detail["EndpointStatus"] = _spelled(detail["EndpointStatus"])
    detail["Tags"] = {tag["Key"]: tag["Value"] for tag in Tags(context.store).get(arn)}
    context.events.put(region, event, [arn], detail)


def variant_summary(group: VariantFleet, status: Record | None = None) -> Record:
    """ProductionVariantSummary: what is there and what is wanted; ``status`` is its ProductionVariantStatus, if it has one."""
    summary = {
        "VariantName": group.name,
        "DeployedImages": [{"SpecifiedImage": group.plan.image, "ResolvedImage": group.plan.image}],
        "CurrentWeight": group.weight,
        "DesiredWeight": group.weight,
        "CurrentInstanceCount": len(group.instances),
        "DesiredInstanceCount": group.desired,
    }
    if status:
        summary["VariantStatus"] = [status]
    if pools := group.variant.get("InstancePools"):
        counts = Counter(instance.instance_type for instance in group.instances)
        types = [pool["InstanceType"] for pool in pools]
        summary["InstancePools"] = [{"InstanceType": name, "CurrentInstanceCount": counts[name]} for name in types]
    if routing := group.variant.get("RoutingConfig"):
        summary["RoutingConfig"] = routing
    return summary


def stage(name: str, fleet: Fleet, plan: Deployment) -> Record:
    """Return a ProductionVariantStatus: the stage that a deployment has reached, as its message tells it."""
    serving, desired = len(fleet.instances()), sum(group.desired for group in fleet.variants.values())
    capacity = f"{'full' if serving >= desired else 'canary'} capacity of {serving} instance(s)."
    message = {
        "Creating": f"Launching {max(1, desired - serving)} instance(s).",
        "ActivatingTraffic": f"Activating traffic on {capacity}",
        "Baking": f"Baking for {plan.bake_s:g} seconds (TerminationWaitInSeconds) with traffic enabled on {capacity}",
        "Deleting": f"Terminating {serving} instance(s).",
    }.get(name, "")
    # A roll-back has no status of its own.
    return {"Status": name if message else "Updating", "StatusMessage": message, "StartTime": time.time()}


def scaling(before: int, after: int) -> Record:
    """Return the ProductionVariantStatus of a variant that is getting another instance count."""
    way = "out" if after > before else "in"
    return {"Status": "Updating", "StatusMessage": f"Scaling {way} desired instance count to {after}.", "StartTime": time.time()}


def _in_milliseconds(value: Any) -> Any:
    """Return a Describe answer with its times, at any depth, as events have them."""
    if isinstance(value, dict):
        return {name: int(1000 * item) if name in _TIMES else _in_milliseconds(item) for name, item in value.items()}
    return [_in_milliseconds(item) for item in value] if isinstance(value, list) else value


def _spelled(status: str) -> str:
    """Return the endpoint's status as its events spell it: ``IN_SERVICE`` for ``InService``."""
    return "".join(f"_{letter}" if letter.isupper() and index else letter for index, letter in enumerate(status)).upper()
