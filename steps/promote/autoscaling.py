"""Application Auto Scaling of a production variant: a target with its bounds, and a policy that tracks the concurrent requests of an instance.

An update that changes the instance type of a variant that is a target fails, others do not ("Update endpoints that use auto scaling" in
the SageMaker developer guide): the target is taken away before such an update and registered again after it.
"""

from __future__ import annotations

from typing import Any

from config.production import Autoscaling
from delivery.aws.client_errors import translate_client_errors
from delivery.endpoint.deployment import VARIANT

_POLICY = "concurrent-requests"
_METRIC = "SageMakerVariantConcurrentRequestsPerModelHighResolution"  # every 10 s


class EndpointAutoscaling:
    """The autoscaling of one production endpoint."""

    def __init__(self, client: Any, endpoint: str) -> None:
        """`client` is a boto3 application-autoscaling client of the account that the endpoint is in."""
        self._client, self._endpoint = client, endpoint
        self._target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }

    def apply(self, wanted: Autoscaling | None) -> None:
        """Make it as the model file says; None takes it away. What is so already stays so."""
        if wanted is None:
            self.remove()
            return
        with translate_client_errors(f"register the autoscaling of {self._endpoint}"):
            self._client.register_scalable_target(
                **self._target, MinCapacity=wanted.min_instances, MaxCapacity=wanted.max_instances
            )
            self._client.put_scaling_policy(
                **self._target,
                PolicyName=_POLICY,
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration={
                    "TargetValue": wanted.concurrent_requests_per_instance,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": _METRIC},
                    "ScaleOutCooldown": wanted.scale_out_cooldown_s,
                    "ScaleInCooldown": wanted.scale_in_cooldown_s,
                },
            )

    def remove(self) -> None:
        """Take the target away, and its policies with it; none is no error."""
        with translate_client_errors(f"take away the autoscaling of {self._endpoint}"):
            if self._registered():
                self._client.deregister_scalable_target(**self._target)

    def is_there(self) -> bool:
        """Whether it has any."""
        with translate_client_errors(f"look at the autoscaling of {self._endpoint}"):
            return self._registered()

    def _registered(self) -> bool:
        found = self._client.describe_scalable_targets(
            ServiceNamespace=self._target["ServiceNamespace"],
            ResourceIds=[self._target["ResourceId"]],
            ScalableDimension=self._target["ScalableDimension"],
        )
        return bool(found["ScalableTargets"])
