"""CloudWatch's alarms, CloudWatch Logs and Application Auto Scaling, as far as endpoints need them."""

from __future__ import annotations

from typing import Any

from tests.support.fake_aws.shapes import FakeService, client_error


class FakeCloudWatch(FakeService):
    """Alarms; they change state when a test says so."""

    SERVICE = "cloudwatch"

    def __init__(self) -> None:
        self.alarms: dict[str, dict[str, Any]] = {}

    def _put_metric_alarm(self, AlarmName: str, **alarm: Any) -> dict[str, Any]:
        kept = self.alarms.get(AlarmName, {"StateValue": "OK", "StateReason": "no data"})
        self.alarms[AlarmName] = {**kept, **alarm, "AlarmName": AlarmName}
        return {}

    def _describe_alarms(self, AlarmNames: list[str] | None = None, AlarmNamePrefix: str = "", **_: Any) -> dict[str, Any]:
        found = [
            alarm
            for name, alarm in self.alarms.items()
            if name.startswith(AlarmNamePrefix) and (AlarmNames is None or name in AlarmNames)
        ]
        return {"MetricAlarms": found, "CompositeAlarms": []}

    def _delete_alarms(self, AlarmNames: list[str]) -> dict[str, Any]:
        if not set(AlarmNames) & set(self.alarms):
            raise client_error("DeleteAlarms", "ResourceNotFound", f"There is no alarm {AlarmNames[0]}.")
        for name in AlarmNames:
            self.alarms.pop(name, None)
        return {}

    def _put_metric_data(self, **_: Any) -> dict[str, Any]:
        return {}

    def _set_alarm_state(self, AlarmName: str, StateValue: str, StateReason: str) -> dict[str, Any]:
        self.alarms[AlarmName] |= {"StateValue": StateValue, "StateReason": StateReason}
        return {}

    def in_alarm(self, names: list[str]) -> list[str]:
        """Those of the alarms that are in ALARM."""
        return [name for name in names if self.alarms.get(name, {}).get("StateValue") == "ALARM"]


class FakeLogs(FakeService):
    """What containers wrote, by log group."""

    SERVICE = "logs"

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}

    def _describe_log_streams(self, logGroupName: str, **_: Any) -> dict[str, Any]:
        if logGroupName not in self.lines:
            raise client_error("DescribeLogStreams", "ResourceNotFoundException", "The specified log group does not exist.")
        return {"logStreams": [{"logStreamName": "AllTraffic/i-1"}]}

    def _get_log_events(self, logGroupName: str, **_: Any) -> dict[str, Any]:
        return {"events": [{"message": line} for line in self.lines[logGroupName]]}


class FakeScaling(FakeService):
    """Scalable targets, each with its policies. Nothing is scaled."""

    SERVICE = "application-autoscaling"

    def __init__(self) -> None:
        self._targets: dict[str, dict[str, Any]] = {}
        self._policies: dict[str, dict[str, Any]] = {}

    def _register_scalable_target(self, ResourceId: str, **target: Any) -> dict[str, Any]:
        self._targets[ResourceId] = {**target, "ResourceId": ResourceId}
        return {}

    def _put_scaling_policy(self, ResourceId: str, **policy: Any) -> dict[str, Any]:
        if ResourceId not in self._targets:
            raise client_error("PutScalingPolicy", "ObjectNotFoundException", "No scalable target registered")
        self._policies[ResourceId] = {**policy, "ResourceId": ResourceId}
        return {}

    def _describe_scalable_targets(self, ResourceIds: list[str] | None = None, **_: Any) -> dict[str, Any]:
        return {"ScalableTargets": [one for name, one in self._targets.items() if ResourceIds is None or name in ResourceIds]}

    def _describe_scaling_policies(self, ResourceId: str, **_: Any) -> dict[str, Any]:
        return {"ScalingPolicies": [self._policies[ResourceId]] if ResourceId in self._policies else []}

    def _deregister_scalable_target(self, ResourceId: str, **_: Any) -> dict[str, Any]:
        if ResourceId not in self._targets:
            raise client_error("DeregisterScalableTarget", "ObjectNotFoundException", "No scalable target registered")
        del self._targets[ResourceId]
        self._policies.pop(ResourceId, None)
        return {}

    def follows(self, endpoint: str) -> bool:
        """Whether a variant of the endpoint is a target."""
        return any(name.startswith(f"endpoint/{endpoint}/") for name in self._targets)
