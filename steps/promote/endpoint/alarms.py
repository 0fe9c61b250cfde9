"""CloudWatch alarms that take an update of production back: those that the project makes, and those that the team names.

Errors and latency are watched on the new instances alone: endpoint metrics have the dimension EndpointConfigName beside the endpoint's and
the variant's ("Auto-Rollback Configuration and Monitoring" in the SageMaker developer guide), so each deployment has alarms of its own,
named after its endpoint config. "For each 5xx response, 1 is sent; otherwise, 0 is sent" ("Amazon SageMaker AI metrics in Amazon
CloudWatch"): the average of Invocation5XXErrors is the rate of errors. Every instance sends its MemoryUtilization once a minute whether or
not it has traffic, so an endpoint that sends none has no instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from config.production import Guards
from delivery.aws.client_errors import translate_client_errors
from delivery.aws.s3 import error_code
from delivery.endpoint.deployment import VARIANT
from delivery.errors import DeliveryError

if TYPE_CHECKING:
    from types_boto3_cloudwatch.client import CloudWatchClient
    from types_boto3_cloudwatch.type_defs import TagTypeDef

_MICROSECONDS = 1000  # in a millisecond: ModelLatency's unit
_NO_INSTANCE_PERIODS = 3
_OF_FLEET = ("errors", "latency")


class Alarms:
    """The alarms of one production endpoint."""

    def __init__(self, cloudwatch: CloudWatchClient, endpoint: str) -> None:
        """`cloudwatch` is a boto3 client of the account that the endpoint is in."""
        self._cloudwatch, self._endpoint = cloudwatch, endpoint

    @property
    def no_instance(self) -> str:
        """The name of the alarm for an endpoint without any instance; the same for all its versions."""
        return f"{self._endpoint}-no-instance"

    def of_fleet(self, guards: Guards, config: str) -> list[str]:
        """Return the names of the alarms on the instances of one endpoint config."""
        wanted = {"errors": guards.errors_percent, "latency": guards.model_latency_p99_ms}
        return [f"{config}-{name}" for name, bound in wanted.items() if bound is not None]

    def put(self, guards: Guards, config: str, tags: Sequence[TagTypeDef]) -> list[str]:
        """Make the alarms for an endpoint config (one that is there keeps its state); their names, the endpoint's own among them."""
        variant = [{"Name": "EndpointName", "Value": self._endpoint}, {"Name": "VariantName", "Value": VARIANT}]
        fleet = {
            "Namespace": "AWS/SageMaker",
            "Dimensions": [*variant, {"Name": "EndpointConfigName", "Value": config}],
            "Period": guards.period_s,
            "EvaluationPeriods": guards.periods,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        }
        made: dict[str, dict[str, Any]] = {}
        if guards.errors_percent is not None:
            made[f"{config}-errors"] = fleet | {
                "MetricName": "Invocation5XXErrors",
                "Statistic": "Average",
                "Threshold": guards.errors_percent / 100,
                "AlarmDescription": f"More than {guards.errors_percent:g} % of the requests ended with a 5XX",
            }
        if guards.model_latency_p99_ms is not None:
            made[f"{config}-latency"] = fleet | {
                "MetricName": "ModelLatency",
                "ExtendedStatistic": "p99",
                "Threshold": guards.model_latency_p99_ms * _MICROSECONDS,
                "AlarmDescription": f"ModelLatency p99 above {guards.model_latency_p99_ms:g} ms",
            }
        if guards.no_instance:
            made[self.no_instance] = {
                "Namespace": "/aws/sagemaker/Endpoints",
                "Dimensions": variant,
                "MetricName": "MemoryUtilization",
                "Statistic": "SampleCount",
                "Period": 60,
                "EvaluationPeriods": _NO_INSTANCE_PERIODS,
                "Threshold": 1,
                "ComparisonOperator": "LessThanThreshold",
                "TreatMissingData": "breaching",
                "AlarmDescription": "No instance sends metrics any more",
            }
        for name, alarm in made.items():
            with translate_client_errors(f"make the alarm {name}"):
                self._cloudwatch.put_metric_alarm(AlarmName=name, Tags=tags, **alarm)
        return list(made)

    def usable(self, ours: Sequence[str], teams: Sequence[str]) -> list[str]:
        """Return those that can judge an update that starts now.

        One of ours that is in ALARM already is about what production serves now, and left out.

        Args:
            ours: The project's alarms.
            teams: Those that the model file names.

        Returns:
            The names of those to watch.

        Raises:
            DeliveryError: One of the team's does not exist, or is in ALARM: SageMaker would take the update back at once.
        """
        states = self._states([*ours, *teams])
        for name in teams:
            if name not in states:
                raise DeliveryError(
                    f"there is no alarm {name!r} in CloudWatch; production.alarms names it: make it, or take it out"
                )
            if states[name][0] == "ALARM":
                raise DeliveryError(
                    f"the alarm {name} is in ALARM before the update ({states[name][1]}): SageMaker would take the update back at once; "
                    "see to it, or take it out of production.alarms"
                )
        return [*(name for name in ours if states.get(name, ("",))[0] != "ALARM"), *teams]

    def in_alarm(self, names: Sequence[str]) -> list[str]:
        """Return those of the alarms that are in ALARM, each with what it says of itself and why it went off."""
        states = self._states(names)
        return [f"{name} ({states[name][2]}: {states[name][1]})" for name in names if states.get(name, ("",))[0] == "ALARM"]

    def delete(self, config: str) -> None:
        """Delete the alarms on the instances of an endpoint config; those that are gone already are no error."""
        self._delete([f"{config}-{name}" for name in _OF_FLEET])

    def delete_endpoints_own(self) -> None:
        """Delete the alarm that is the endpoint's own; it is no error when it is gone already."""
        self._delete([self.no_instance])

    def _delete(self, names: Sequence[str]) -> None:
        there = list(self._states(names))
        if there:
            with translate_client_errors(f"delete the alarms {', '.join(there)}"):
                try:
                    self._cloudwatch.delete_alarms(AlarmNames=there)
                except ClientError as error:
                    if error_code(error) != "ResourceNotFound":  # boto3 sends a request again whose answer got lost
                        raise

    def _states(self, names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """Return the state of each alarm that there is, why, and its description."""
        if not names:
            return {}
        with translate_client_errors(f"look at the alarms {', '.join(names)}"):
            described = self._cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        found = [*described.get("MetricAlarms", []), *described.get("CompositeAlarms", [])]
        return {
            alarm["AlarmName"]: (
                alarm["StateValue"],
                alarm.get("StateReason") or "no reason given",
                alarm.get("AlarmDescription") or "no description",
            )
            for alarm in found
        }
