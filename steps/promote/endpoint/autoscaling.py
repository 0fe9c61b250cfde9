"""Application Auto Scaling of a production variant: a target with its bounds, and a policy that tracks the concurrent requests of an instance.

An update that changes the instance type of a variant that is a target fails, others do not ("Update endpoints that use auto scaling" in
the SageMaker developer guide): the target is taken away before such an update and registered again after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from config.production import Autoscaling
from delivery.aws.client_errors import translate_client_errors
from delivery.aws.s3 import error_code
from delivery.endpoint.deployment import VARIANT

if TYPE_CHECKING:
    from types_boto3_application_autoscaling.client import ApplicationAutoScalingClient
    from types_boto3_application_autoscaling.type_defs import TargetTrackingScalingPolicyConfigurationTypeDef

_DIMENSION: Final = "sagemaker:variant:DesiredInstanceCount"
_POLICY = "concurrent-requests"
_METRIC: Final = "SageMakerVariantConcurrentRequestsPerModelHighResolution"  # every 10 s


class EndpointAutoscaling:
    """The autoscaling of one production endpoint."""

    def __init__(self, client: ApplicationAutoScalingClient, endpoint: str) -> None:
        """`client` is of the account that the endpoint is in."""
        self._client, self._endpoint = client, endpoint
        self._resource = f"endpoint/{endpoint}/variant/{VARIANT}"

    def apply(self, wanted: Autoscaling | None) -> None:
        """Make it as the model file says; None takes it away. Idempotent: what is so already stays so.

        Args:
            wanted: The model file's section.

        Raises:
            DeliveryError: AWS refused.
        """
        if wanted is None:
            self.remove()
            return
        with translate_client_errors(f"register the autoscaling of {self._endpoint}"):
            self._client.register_scalable_target(
                ServiceNamespace="sagemaker",
                ResourceId=self._resource,
                ScalableDimension=_DIMENSION,
                MinCapacity=wanted.min_instances,
                MaxCapacity=wanted.max_instances,
            )
            policy: TargetTrackingScalingPolicyConfigurationTypeDef = {
                "TargetValue": wanted.concurrent_requests_per_instance,
                "PredefinedMetricSpecification": {"PredefinedMetricType": _METRIC},
                "ScaleOutCooldown": wanted.scale_out_cooldown_s,
                "ScaleInCooldown": wanted.scale_in_cooldown_s,
            }
            self._client.put_scaling_policy(
                ServiceNamespace="sagemaker",
                ResourceId=self._resource,
                ScalableDimension=_DIMENSION,
                PolicyName=_POLICY,
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration=policy,
            )

    def remove(self) -> None:
        """Take the target away, and its policies with it; none is no error."""
        with translate_client_errors(f"take away the autoscaling of {self._endpoint}"):
            if not self._registered():
                return
            try:
                self._client.deregister_scalable_target(
                    ServiceNamespace="sagemaker", ResourceId=self._resource, ScalableDimension=_DIMENSION
                )
            except ClientError as error:
                if error_code(error) != "ObjectNotFoundException":  # boto3 sends a request again whose answer got lost
                    raise

    def is_there(self) -> bool:
        """Tell whether it has any."""
        with translate_client_errors(f"look at the autoscaling of {self._endpoint}"):
            return self._registered()

    def _registered(self) -> bool:
        found = self._client.describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=[self._resource], ScalableDimension=_DIMENSION
        )
        return bool(found["ScalableTargets"])
