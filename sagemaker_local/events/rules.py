"""EventBridge rules that really reach their targets. The rules are moto's.

moto delivers to log groups, archives, buses and SQS only, and fails the whole PutEvents call for any other target; it ignores that a
rule is disabled, and puts the time of an event as a number. Here a matching rule also starts SageMaker pipelines, with parameters
taken from the event, publishes to SNS and runs Lambda functions; what cannot be delivered goes to the target's dead-letter queue.
("Amazon EventBridge targets", "Amazon EventBridge input transformation" in EventBridge's user guide.)
"""

from __future__ import annotations

import functools
import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError
from sagemaker_local.lambdas.functions import run_function
from sagemaker_local.moto_bridge.patching import replace_method
from sagemaker_local.timestamps import iso

if TYPE_CHECKING:
    from moto.events.models import Rule
    from moto.events.utils import EventMessageType

    from sagemaker_local.context import Context
    from sagemaker_local.event_queue import SageMakerEvent

_LOGGER = logging.getLogger(__name__)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']+)'\]")
_VARIABLE = re.compile(r"<([\w.\-]+)>")

Deliver = Callable[["Rule", "EventMessageType"], None]
"""moto's own delivery of an event to all targets of a rule."""


def install(of_account: Callable[[str], Context]) -> None:
    """Take over the delivery of rules; ``of_account`` gives the context of the account that has one."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.events.models import Rule

    def send_to_targets(rule: Rule, event: EventMessageType, transform_input: bool = True) -> None:
        # A rule with a schedule and no pattern meets no event; moto takes it for one that meets all.
        if rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(_message(event)):
            deliver(of_account(rule.account_id), rule, event)

    replace_method(Rule, _moto_delivers(), send_to_targets)


@functools.cache
def _moto_delivers() -> Deliver:
    """Return moto's own delivery. First called before it is replaced."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.events.models import Rule

    return Rule.send_to_targets


def listen(context: Context) -> None:
    """Send SageMaker's events in an account to its rules."""
    context.events.listen(lambda event: _publish(context, event))


def _publish(context: Context, event: SageMakerEvent) -> None:
    """Send a SageMaker event to every rule of the default bus."""
    bus = context.moto.backend("events", event.region).describe_event_bus("default")
    message: EventMessageType = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": event.detail_type,
        "source": "aws.sagemaker",
        "account": context.account_id,
        "time": time.time(),
        "region": event.region,
        "resources": list(event.resources),
        "detail": event.detail,
    }
    for rule in list(bus.rules.values()):
        rule.send_to_targets(message)


def _message(event: EventMessageType) -> EventMessageType:
    """Return an event as targets and patterns see it: its time is text."""
    message = event.copy()
    message.pop("ingestion-time", None)
    at = message.get("time")
    if isinstance(at, (int, float)):
        message["time"] = iso(at)
    return message


def deliver(context: Context, rule: Rule, event: EventMessageType) -> None:
    """Send an event to every target of a rule, unless the rule is disabled; what fails goes to the target's dead-letter queue."""
    if rule.state == "DISABLED":
        return
    message = _message(event)
    for target in list(rule.targets):
        send = _DELIVERIES.get(_kind(target["Arn"]))
        if send is None:
            _by_moto(_moto_delivers(), rule, target, event)
            continue
        payload = payload_of(target, dict(message), rule.arn, rule.name)
        try:
            send(context, rule.region_name, target, payload, dict(message))
        except Exception as error:
            _LOGGER.exception("rule %s: target %s", rule.name, target["Arn"])
            _dead_letter(context, rule, target, payload, error)


def _kind(arn: str) -> str:
    """Return ``sqs``, ``sns``, ``lambda`` or ``sagemaker:pipeline``."""
    service, resource = arn.split(":")[2], arn.split(":", 5)[5]
    return f"{service}:{resource.partition('/')[0].lower()}" if service == "sagemaker" else service


def _by_moto(moto_delivers: Deliver, rule: Rule, target: dict[str, Any], event: EventMessageType) -> None:
    """Let moto deliver to one target of a rule."""
    targets, rule.targets = rule.targets, [target]
    at = event["time"]
    try:
        moto_delivers(rule, {**event, "time": at if isinstance(at, (int, float)) else time.time()})
    except NotImplementedError:
        _LOGGER.warning("rule %s: targets such as %s are not emulated", rule.name, target["Arn"])
    finally:
        rule.targets = targets


def payload_of(target: dict[str, Any], event: dict[str, Any], rule_arn: str, rule_name: str) -> str:
    """Return what a target gets: its Input, the part of the event at its InputPath, its template filled in, or the whole event."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(at_path(event, target["InputPath"]))
    if transformer := target.get("InputTransformer"):
        variables = {name: at_path(event, path) for name, path in (transformer.get("InputPathsMap") or {}).items()}
        variables |= {
            "aws.events.rule-arn": rule_arn,
            "aws.events.rule-name": rule_name,
            "aws.events.event.json": event,
            "aws.events.event": event,
            "aws.events.event.ingestion-time": event["time"],
        }
        return fill_template(transformer["InputTemplate"], variables)
    return json.dumps(event)


def at_path(event: Any, path: str) -> Any:
    """Return the value at a JSONPath such as ``$.detail.ModelPackageArn`` or ``$.resources[0]``; None when there is none.

    >>> at_path({"detail": {"ModelApprovalStatus": "Approved"}}, "$.detail.ModelApprovalStatus")
    'Approved'
    """
    value = event
    for name, index, quoted in _STEP.findall(path.removeprefix("$")):
        try:
            value = value[int(index)] if index else value[name or quoted]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def fill_template(template: str, variables: dict[str, Any]) -> str:
    """Return an input template with its ``<variables>`` filled in: as JSON, and inside a string as text. An unknown one stays empty."""
    filled: list[str] = []
    in_string, position = False, 0
    for found in _VARIABLE.finditer(template):
        between = template[position : found.start()]
        in_string ^= len(re.findall(r'(?<!\\)"', between)) % 2 == 1
        value = variables.get(found[1])
        if in_string:
            text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
            filled += [between, json.dumps(text)[1:-1]]
        else:
            filled += [between, json.dumps(value)]
        position = found.end()
    return "".join(filled) + template[position:]


def _to_pipeline(context: Context, region: str, target: dict[str, Any], payload: str, event: dict[str, Any]) -> None:
    """StartPipelineExecution; a parameter's value that is a JSONPath is taken from the event."""
    given = (target.get("SageMakerPipelineParameters") or {}).get("PipelineParameterList") or []
    parameters = [{"Name": entry["Name"], "Value": _parameter(entry["Value"], event)} for entry in given]
    request: dict[str, Any] = {"PipelineName": target["Arn"], "ClientRequestToken": str(uuid.uuid4())}
    if parameters:
        request["PipelineParameters"] = parameters
    context.invoke(region, "StartPipelineExecution", request, target.get("RoleArn"))


def _parameter(value: str, event: dict[str, Any]) -> str:
    if not value.startswith("$."):
        return value
    found = at_path(event, value)
    return found if isinstance(found, str) else json.dumps(found)


def _to_queue(context: Context, region: str, target: dict[str, Any], payload: str, event: dict[str, Any]) -> None:
    group = (target.get("SqsParameters") or {}).get("MessageGroupId")
    more = {"MessageGroupId": group, "MessageDeduplicationId": event["id"]} if group else {}
    _send_message(context, region, target["Arn"], payload, **more)


def _send_message(context: Context, region: str, queue_arn: str, body: str, **more: Any) -> None:
    sqs = context.client("sqs", queue_arn.split(":")[3] or region)
    url = sqs.get_queue_url(QueueName=queue_arn.rpartition(":")[2])["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=body, **more)


def _to_topic(context: Context, region: str, target: dict[str, Any], payload: str, event: dict[str, Any]) -> None:
    context.client("sns", region).publish(TopicArn=target["Arn"], Message=payload)


def _to_function(context: Context, region: str, target: dict[str, Any], payload: str, event: dict[str, Any]) -> None:
    run_function(context, region, target["Arn"], json.loads(payload))


_DELIVERIES: dict[str, Callable[..., None]] = {
    "sagemaker:pipeline": _to_pipeline,
    "sqs": _to_queue,
    "sns": _to_topic,
    "lambda": _to_function,
}


def _dead_letter(context: Context, rule: Rule, target: dict[str, Any], payload: str, error: Exception) -> None:
    """Send the event to the target's dead-letter queue, with why it is there in the message's attributes."""
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not queue:
        return
    message = error.message if isinstance(error, AwsError) else str(error)
    code = error.code if isinstance(error, AwsError) else "INTERNAL_ERROR"
    attributes = {"RULE_ARN": rule.arn, "TARGET_ARN": target["Arn"], "ERROR_CODE": code, "ERROR_MESSAGE": message[:1000] or "-"}
    typed = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    _send_message(context, rule.region_name, queue, payload, MessageAttributes=typed)
