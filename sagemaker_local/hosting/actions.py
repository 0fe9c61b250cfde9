"""Hosting's actions: models, endpoint configs, endpoints."""

from __future__ import annotations

from typing import Any

from sagemaker_local.actions import Call, action, on_start
from sagemaker_local.context import Context
from sagemaker_local.errors import NotImplementedHere, ValidationError
from sagemaker_local.hosting.containers import check_approved, plan
from sagemaker_local.hosting.endpoint import Endpoints
from sagemaker_local.jobs.paging import ordered, page
from sagemaker_local.records import Record, Records, created, listed, picked
from sagemaker_local.tags import Tags

Request = dict[str, Any]


def _models(call: Call) -> Records:
    return Records(call.context.store, "model")


def _configs(call: Call) -> Records:
    return Records(call.context.store, "endpoint-config")


def _endpoints(call: Call) -> Endpoints:
    return call.context.part(Endpoints)


@on_start
def resume(context: Context) -> None:
    """Start again what an earlier server on this state directory served."""
    context.part(Endpoints).resume()


@action("CreateModel")
def create_model(call: Call, request: Request) -> Request:
    """A model: which container, with which model data."""
    name = request["ModelName"]
    if bool(request.get("PrimaryContainer")) == bool(request.get("Containers")):
        raise ValidationError("Exactly one of PrimaryContainer and Containers must be provided.")
    arn = call.arn(f"model/{name}")
    if _models(call).get(call.region, name):
        raise ValidationError(f'Cannot create already existing model "{arn}".')
    model = created(request, "ModelArn", arn)
    check_approved(call.context, call.region, model)
    plan(call.context, call.region, model)  # its model package exists, and it is of a kind that can be served
    _models(call).put(call.region, name, model)
    Tags(call.context).add(arn, request.get("Tags") or [])
    return {"ModelArn": arn}


def _model(call: Call, name: str) -> Record:
    found = _models(call).get(call.region, name)
    if found is None:
        raise ValidationError(f'Could not find model "{call.arn("model/" + name)}".')
    return found


@action("DescribeModel")
def describe_model(call: Call, request: Request) -> Request:
    """A model."""
    return {"EnableNetworkIsolation": False, **_model(call, request["ModelName"])}


@action("DeleteModel")
def delete_model(call: Call, request: Request) -> None:
    """Delete a model. Endpoints that serve it go on."""
    arn = _model(call, request["ModelName"])["ModelArn"]
    _models(call).delete(call.region, request["ModelName"])
    Tags(call.context).forget(arn)


@action("ListModels")
def list_models(call: Call, request: Request) -> Request:
    """Models, newest first."""
    return _listing(call, request, _models(call), "Models", "ModelName", ("ModelName", "ModelArn", "CreationTime"))


@action("CreateEndpointConfig")
def create_endpoint_config(call: Call, request: Request) -> Request:
    """An endpoint config. moto's refuses instance types that exist (ml.g5, ml.g6e); every field is kept here."""
    name = request["EndpointConfigName"]
    arn = call.arn(f"endpoint-config/{name}")
    if _configs(call).get(call.region, name):
        raise ValidationError(f'Cannot create already existing endpoint configuration "{arn}".')
    for variant in request["ProductionVariants"]:
        _check_variant(call, variant)
    _configs(call).put(call.region, name, created(request, "EndpointConfigArn", arn))
    Tags(call.context).add(arn, request.get("Tags") or [])
    return {"EndpointConfigArn": arn}


def _check_variant(call: Call, variant: Request) -> None:
    name = variant["VariantName"]
    if not variant.get("ModelName"):
        raise NotImplementedHere(f"A production variant without ModelName ({name}), for inference components, is not emulated.")
    for member in ("InstanceType", "InitialInstanceCount"):
        if not variant.get(member):
            raise ValidationError(f"{member} is required for production variant {name}.")
    _model(call, variant["ModelName"])


def _config(call: Call, name: str) -> Record:
    found = _configs(call).get(call.region, name)
    if found is None:
        raise ValidationError(f'Could not find endpoint configuration "{call.arn("endpoint-config/" + name)}".')
    return found


@action("DescribeEndpointConfig")
def describe_endpoint_config(call: Call, request: Request) -> Request:
    """An endpoint config."""
    return _config(call, request["EndpointConfigName"])


@action("DeleteEndpointConfig")
def delete_endpoint_config(call: Call, request: Request) -> None:
    """Delete an endpoint config. Endpoints that use it go on."""
    arn = _config(call, request["EndpointConfigName"])["EndpointConfigArn"]
    _configs(call).delete(call.region, request["EndpointConfigName"])
    Tags(call.context).forget(arn)


@action("ListEndpointConfigs")
def list_endpoint_configs(call: Call, request: Request) -> Request:
    """Endpoint configs, newest first."""
    members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
    return _listing(call, request, _configs(call), "EndpointConfigs", "EndpointConfigName", members)


def _models_of(call: Call, config: Record) -> dict[str, Record]:
    return {variant["ModelName"]: _model(call, variant["ModelName"]) for variant in config["ProductionVariants"]}


@action("CreateEndpoint")
def create_endpoint(call: Call, request: Request) -> Request:
    """Start an endpoint's instances."""
    name = request["EndpointName"]
    arn = call.arn(f"endpoint/{name}")
    config = _config(call, request["EndpointConfigName"])
    models = _models_of(call, config)
    endpoints = _endpoints(call)
    if endpoints.records.get(call.region, name):
        raise ValidationError(f'Cannot create already existing endpoint "{arn}".')
    Tags(call.context).add(arn, request.get("Tags") or [])
    record = created(request, "EndpointArn", arn)
    record.pop("DeploymentConfig", None)
    endpoints.create(call.region, record, config, models)
    return {"EndpointArn": arn}


@action("UpdateEndpoint")
def update_endpoint(call: Call, request: Request) -> Request:
    """Replace what an endpoint serves."""
    name = request["EndpointName"]
    endpoints = _endpoints(call)
    record = endpoints.get(call.region, name)
    config = _config(call, request["EndpointConfigName"])
    if request.get("RetainDeploymentConfig") and not request.get("DeploymentConfig"):
        request = {**request, "DeploymentConfig": record.get("LastDeploymentConfig")}
    endpoints.update(call.region, name, config, _models_of(call, config), request)
    return {"EndpointArn": record["EndpointArn"]}


@action("UpdateEndpointWeightsAndCapacities")
def update_endpoint_weights_and_capacities(call: Call, request: Request) -> Request:
    """Give variants other weights and instance counts."""
    name = request["EndpointName"]
    changes = {
        entry["VariantName"]: (entry.get("DesiredWeight"), entry.get("DesiredInstanceCount"))
        for entry in request["DesiredWeightsAndCapacities"]
    }
    _endpoints(call).resize(call.region, name, changes)
    return {"EndpointArn": call.arn(f"endpoint/{name}")}


@action("DescribeEndpoint")
def describe_endpoint(call: Call, request: Request) -> Request:
    """An endpoint as it is now."""
    return _endpoints(call).describe(call.region, request["EndpointName"])


@action("DeleteEndpoint")
def delete_endpoint(call: Call, request: Request) -> None:
    """Stop an endpoint's instances and forget it."""
    _endpoints(call).delete(call.region, request["EndpointName"])


@action("ListEndpoints")
def list_endpoints(call: Call, request: Request) -> Request:
    """Endpoints, newest first."""
    members = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
    records = _endpoints(call).records.all_in(call.region)
    wanted = request.get("StatusEquals")
    found = [record for record in listed(records, request, "EndpointName") if not wanted or record["EndpointStatus"] == wanted]
    keys = {
        "CreationTime": lambda record: record["CreationTime"],
        "Name": lambda record: record["EndpointName"],
        "Status": lambda record: record["EndpointStatus"],
    }
    return page("Endpoints", [picked(record, members) for record in ordered(found, request, keys)], request)


def _listing(call: Call, request: Request, records: Records, member: str, name: str, members: tuple[str, ...]) -> Request:
    found = listed(records.all_in(call.region), request, name)
    keys = {"CreationTime": lambda record: record["CreationTime"], "Name": lambda record: record[name]}
    return page(member, [picked(record, members) for record in ordered(found, request, keys)], request)
