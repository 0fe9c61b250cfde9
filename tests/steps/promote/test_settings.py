"""What the model file says of production reaches SageMaker, and stays through updates."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import botocore.session
import pytest
from botocore.validate import ParamValidator

from config.loader import load_environment, load_model
from config.schema import Release
from delivery.endpoint.deployment import Deployment
from delivery.registry import model_packages
from pipelines.definitions.requests import PROMOTE_MAX_RUNTIME_S
from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from tests.support.waiting import WHOLE_SYSTEM_S, wait_until
from tests.support.worlds.promotion import PromotionWorld, ServedPromotions

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

SCALING = {"min_instances": 1, "max_instances": 3, "concurrent_requests_per_instance": 16, "scale_in_cooldown_s": 3600}


def test_guards_autoscaling_routing_and_data_capture(served: ServedPromotions) -> None:
    name = served.name()
    settings: dict[str, Any] = {
        "instance_count": 2,
        "autoscaling": SCALING,
        "guards": {"errors_percent": 2.0, "model_latency_p99_ms": 1500.0},
        "routing": {"strategy": "prefix_aware"},
    }
    served.serve(served.version(name, **settings))
    config = served.config(name)
    assert config["ProductionVariants"][0]["RoutingConfig"]["RoutingStrategy"] == "PREFIX_AWARE"
    bounds = served.autoscaling(name)
    assert bounds is not None
    assert (bounds["MinCapacity"], bounds["MaxCapacity"]) == (1, 3)
    tracking = bounds["policies"][0]["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 16
    kind = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert kind == "SageMakerVariantConcurrentRequestsPerModelHighResolution"

    fleet = config["EndpointConfigName"]
    alarms = served.client("cloudwatch").describe_alarms()["MetricAlarms"]
    ours = {alarm["AlarmName"]: alarm for alarm in alarms if alarm["AlarmName"].startswith((fleet, f"{name}-no"))}
    assert set(ours) == {f"{fleet}-errors", f"{fleet}-latency", f"{name}-no-instance"}
    assert ours[f"{fleet}-errors"]["Threshold"] == 0.02
    assert ours[f"{fleet}-latency"]["ExtendedStatistic"] == "p99"
    assert ours[f"{fleet}-latency"]["Threshold"] == 1_500_000
    assert {"Name": "EndpointConfigName", "Value": fleet} in ours[f"{fleet}-errors"]["Dimensions"]

    # Nobody asks, so autoscaling takes an instance away; an update keeps what it chose.
    def desired() -> int:
        described = served.endpoint(name)
        assert described is not None
        return (
            -1 if described["EndpointStatus"] != "InService" else int(described["ProductionVariants"][0]["DesiredInstanceCount"])
        )

    wait_until(lambda: desired() == 1, "scaled in")
    served.serve(served.version(name, **settings))
    assert desired() == 1
    assert served.autoscaling(name) is not None
    described = served.endpoint(name)
    assert described is not None
    watched = described["LastDeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    fleet = described["EndpointConfigName"]
    assert {alarm["AlarmName"] for alarm in watched} == {f"{fleet}-errors", f"{fleet}-latency", f"{name}-no-instance"}

    # The model file is the truth: without the section there is no autoscaling, and its own instance count again.
    served.serve(served.version(name, instance_count=2))
    assert desired() == 2
    assert served.autoscaling(name) is None


def test_what_is_captured_is_said_in_sagemakers_words(world: PromotionWorld) -> None:
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
    ProductionEndpoint(release, clients, Mock())._wait()
    [_, timeout_s, *_] = clients.hosting.wait.call_args.args
    assert 2 * release.update_timeout_s < timeout_s < PROMOTE_MAX_RUNTIME_S
