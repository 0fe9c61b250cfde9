"""What the model file says of production reaches SageMaker, and stays through updates."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import botocore.session
from botocore.validate import ParamValidator

from config.loader import load_environment, load_model
from config.schema import Release
from delivery.endpoint.deployment import Deployment
from delivery.registry import model_packages
from pipelines.definitions.requests import PROMOTE_MAX_RUNTIME_S
from steps.promote.production import Production
from tests.sagemaker_local.hosting_client import eventually
from tests.steps.promote.world import World

SCALING = {"min_instances": 1, "max_instances": 3, "concurrent_requests_per_instance": 16, "scale_in_cooldown_s": 3600}


def target(world: World, name: str) -> dict[str, Any] | None:
    scaling = world.client("application-autoscaling")
    resource = f"endpoint/{name}/variant/AllTraffic"
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource])["ScalableTargets"]
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource)["ScalingPolicies"]
    return {**targets[0], "policies": policies} if targets else None


def test_guards_autoscaling_routing_and_data_capture(world: World) -> None:
    name = world.name()
    settings: dict[str, Any] = {
        "instance_count": 2,
        "autoscaling": SCALING,
        "guards": {"errors_percent": 2.0, "model_latency_p99_ms": 1500.0},
        "routing": {"strategy": "prefix_aware"},
    }
    world.serve(world.version(name, **settings))
    config = world.config(name)
    assert config["ProductionVariants"][0]["RoutingConfig"]["RoutingStrategy"] == "PREFIX_AWARE"
    bounds = target(world, name)
    assert bounds is not None
    assert (bounds["MinCapacity"], bounds["MaxCapacity"]) == (1, 3)
    tracking = bounds["policies"][0]["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 16
    kind = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert kind == "SageMakerVariantConcurrentRequestsPerModelHighResolution"

    served = config["EndpointConfigName"]
    alarms = world.client("cloudwatch").describe_alarms()["MetricAlarms"]
    ours = {alarm["AlarmName"]: alarm for alarm in alarms if alarm["AlarmName"].startswith((served, f"{name}-no"))}
    assert set(ours) == {f"{served}-errors", f"{served}-latency", f"{name}-no-instance"}
    assert ours[f"{served}-errors"]["Threshold"] == 0.02
    assert ours[f"{served}-latency"]["ExtendedStatistic"] == "p99"
    assert ours[f"{served}-latency"]["Threshold"] == 1_500_000
    assert {"Name": "EndpointConfigName", "Value": served} in ours[f"{served}-errors"]["Dimensions"]

    # Nobody asks, so autoscaling takes an instance away; an update keeps what it chose.
    def desired() -> int:
        described = world.endpoint(name)
        assert described is not None
        return (
            -1 if described["EndpointStatus"] != "InService" else int(described["ProductionVariants"][0]["DesiredInstanceCount"])
        )

    eventually(lambda: desired() == 1, "scaled in")
    world.serve(world.version(name, **settings))
    assert desired() == 1
    assert target(world, name) is not None
    described = world.endpoint(name)
    assert described is not None
    watched = described["LastDeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    served = described["EndpointConfigName"]
    assert {alarm["AlarmName"] for alarm in watched} == {f"{served}-errors", f"{served}-latency", f"{name}-no-instance"}

    # The model file is the truth: without the section there is no autoscaling, and its own instance count again.
    world.serve(world.version(name, instance_count=2))
    assert desired() == 2
    assert target(world, name) is None


def test_what_is_captured_is_said_in_sagemakers_words(world: World) -> None:
    version = world.version(world.name(), data_capture={"percent": 10, "content": "both"})
    package = model_packages.read(world.client("sagemaker"), version.arn)
    request = Deployment(version.release, package, "production", "execution-1", 1).config_request()
    assert request["DataCaptureConfig"]["InitialSamplingPercentage"] == 10
    assert request["DataCaptureConfig"]["CaptureOptions"] == [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("CreateEndpointConfigInput")
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    assert "DataCaptureConfig" not in Deployment(version.release, package, "staging", "execution-1", 1).config_request()


def test_an_update_that_sagemaker_takes_back_is_awaited_until_it_is_back() -> None:
    """SageMaker begins the way back when the update's time is up, at the latest, and the way back is as long."""
    name, model = load_model("qwen3-32b")
    release = Release(name=name, model=model, environment=load_environment("aws"), serving_image="i")
    clients = Mock()
    Production(release, clients, Mock())._wait()
    [_, timeout_s, *_] = clients.hosting.wait.call_args.args
    assert 2 * release.update_timeout_s < timeout_s < PROMOTE_MAX_RUNTIME_S
