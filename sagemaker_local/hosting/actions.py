"""Hosting's actions: models, endpoint configs, endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sagemaker_local.api.actions import ActionCall, action, on_start
from sagemaker_local.context import Context
from sagemaker_local.errors import NotImplementedHere, ValidationError
from sagemaker_local.hosting.description import changed
from sagemaker_local.hosting.endpoint import Endpoints
from sagemaker_local.hosting.instances.containers import check_approved, plan
from sagemaker_local.state.paging import ordered, page
from sagemaker_local.state.records import Record, Records, created, listed, picked
from sagemaker_local.state.tags import Tags

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class _ResourceKind:
    """A kind of resource that is nothing but its record: models and endpoint configs."""

    resource: str
    """As ARNs and the store have it."""
    prefix: str
    """As the members of its requests begin."""
    words: str
    """As the service's errors name it."""

    def records(self, call: ActionCall) -> Records:
        """Return all of them."""
        return Records(call.context.store, self.resource)

    def new_arn(self, call: ActionCall, name: str) -> str:
        """Return the ARN of one that is to be made.

        Raises:
            ValidationError: the name is taken.
        """
        arn = call.arn(f"{self.resource}/{name}")
        if self.records(call).get(call.region, name):
            raise self._taken(arn)
        return arn

    def create(self, call: ActionCall, record: Record, tags: list[dict[str, str]] | None) -> JsonObject:
        """Keep a new one, and tell of it; the answer of the Create action.

        Raises:
            ValidationError: the name was taken meanwhile.
        """
        arn = record[f"{self.prefix}Arn"]
        if not self.records(call).add(call.region, record[f"{self.prefix}Name"], record):
            raise self._taken(arn)
        Tags(call.context.store).add(arn, tags or [])
        self._tell(call, record)
        return {f"{self.prefix}Arn": arn}

    def get(self, call: ActionCall, name: str) -> Record:
        """Return one by its name.

        Raises:
            ValidationError: there is none.
        """
        found = self.records(call).get(call.region, name)
        if found is None:
            raise self._missing(call, name)
        return found

    def delete(self, call: ActionCall, name: str) -> None:
        """Forget one, and tell of it. Endpoints that use it go on."""
        record = self.get(call, name)
        if not self.records(call).delete(call.region, name):
            raise self._missing(call, name)
        self._tell(call, record)
        Tags(call.context.store).forget(record[f"{self.prefix}Arn"])

    def listed(self, call: ActionCall, request: JsonObject) -> JsonObject:
        """Return the answer of the List action, newest first."""
        name, arn = f"{self.prefix}Name", f"{self.prefix}Arn"
        found = listed(self.records(call).all_in(call.region), request, name)
        keys = {"CreationTime": lambda record: record["CreationTime"], "Name": lambda record: record[name]}
        shown = [picked(record, (name, arn, "CreationTime")) for record in ordered(found, request, keys)]
        return page(f"{self.prefix}s", shown, request)

    def _taken(self, arn: str) -> ValidationError:
        return ValidationError(f'Cannot create already existing {self.words} "{arn}".')

    def _missing(self, call: ActionCall, name: str) -> ValidationError:
        return ValidationError(f'Could not find {self.words} "{call.arn(f"{self.resource}/{name}")}".')

    def _tell(self, call: ActionCall, record: Record) -> None:
        words = {"model": "Model", "endpoint-config": "Endpoint Config"}[self.resource]
        changed(call.context, call.region, f"SageMaker {words} State Change", record[f"{self.prefix}Arn"], record)


_MODELS = _ResourceKind("model", "Model", "model")
_CONFIGS = _ResourceKind("endpoint-config", "EndpointConfig", "endpoint configuration")


def _endpoints(call: ActionCall) -> Endpoints:
    return call.context.part(Endpoints)


@on_start
def resume(context: Context) -> None:
    """Start again what an earlier server on this state directory served."""
    context.part(Endpoints).resume()


@action("CreateModel")
def create_model(call: ActionCall, request: JsonObject) -> JsonObject:
    """Create a model: which container, with which model data."""
    if bool(request.get("PrimaryContainer")) == bool(request.get("Containers")):
        raise ValidationError("Exactly one of PrimaryContainer and Containers must be provided.")
    model = created(request, "ModelArn", _MODELS.new_arn(call, request["ModelName"]))
    check_approved(call.context, call.region, model)
    plan(call.context, call.region, model)  # its model package exists, and it is of a kind that can be served
    return _MODELS.create(call, model, request.get("Tags"))


@action("DescribeModel")
def describe_model(call: ActionCall, request: JsonObject) -> JsonObject:
    """Describe a model."""
    return {"EnableNetworkIsolation": False, **_MODELS.get(call, request["ModelName"])}


@action("DeleteModel")
def delete_model(call: ActionCall, request: JsonObject) -> None:
    """Delete a model."""
    _MODELS.delete(call, request["ModelName"])


@action("ListModels")
def list_models(call: ActionCall, request: JsonObject) -> JsonObject:
    """List models, newest first."""
    return _MODELS.listed(call, request)


@action("CreateEndpointConfig")
def create_endpoint_config(call: ActionCall, request: JsonObject) -> JsonObject:
    """Create an endpoint config. moto's refuses instance types that exist (ml.g5, ml.g6e); every field is kept here."""
    arn = _CONFIGS.new_arn(call, request["EndpointConfigName"])
    for variant in request["ProductionVariants"]:
        _check_variant(call, variant)
    return _CONFIGS.create(call, created(request, "EndpointConfigArn", arn), request.get("Tags"))


def _check_variant(call: ActionCall, variant: JsonObject) -> None:
    name = variant["VariantName"]
    if not variant.get("ModelName"):
        raise NotImplementedHere(f"A production variant without ModelName ({name}), for inference components, is not emulated.")
    if bool(variant.get("InstanceType")) == bool(variant.get("InstancePools")):
        raise ValidationError(f"Exactly one of InstanceType and InstancePools is required for production variant {name}.")
    if not variant.get("InitialInstanceCount"):
        raise ValidationError(f"InitialInstanceCount is required for production variant {name}.")
    _MODELS.get(call, variant["ModelName"])


@action("DescribeEndpointConfig")
def describe_endpoint_config(call: ActionCall, request: JsonObject) -> JsonObject:
    """Describe an endpoint config."""
    return _CONFIGS.get(call, request["EndpointConfigName"])


@action("DeleteEndpointConfig")
def delete_endpoint_config(call: ActionCall, request: JsonObject) -> None:
    """Delete an endpoint config."""
    _CONFIGS.delete(call, request["EndpointConfigName"])


@action("ListEndpointConfigs")
def list_endpoint_configs(call: ActionCall, request: JsonObject) -> JsonObject:
    """List endpoint configs, newest first."""
    return _CONFIGS.listed(call, request)


def _models_of(call: ActionCall, config: Record) -> dict[str, Record]:
    return {variant["ModelName"]: _MODELS.get(call, variant["ModelName"]) for variant in config["ProductionVariants"]}


@action("CreateEndpoint")
def create_endpoint(call: ActionCall, request: JsonObject) -> JsonObject:
    """Start an endpoint's instances."""
    name = request["EndpointName"]
    arn = call.arn(f"endpoint/{name}")
    config = _CONFIGS.get(call, request["EndpointConfigName"])
    models = _models_of(call, config)
    record = created(request, "EndpointArn", arn)
    record.pop("DeploymentConfig", None)
    _endpoints(call).create(call.region, record, request.get("Tags") or [], config, models)
    return {"EndpointArn": arn}


@action("UpdateEndpoint")
def update_endpoint(call: ActionCall, request: JsonObject) -> JsonObject:
    """Replace what an endpoint serves."""
    name = request["EndpointName"]
    endpoints = _endpoints(call)
    record = endpoints.get(call.region, name)
    config = _CONFIGS.get(call, request["EndpointConfigName"])
    if request.get("RetainDeploymentConfig") and not request.get("DeploymentConfig"):
        request = {**request, "DeploymentConfig": record.get("LastDeploymentConfig")}
    endpoints.update(call.region, name, config, _models_of(call, config), request)
    return {"EndpointArn": record["EndpointArn"]}


@action("UpdateEndpointWeightsAndCapacities")
def update_endpoint_weights_and_capacities(call: ActionCall, request: JsonObject) -> JsonObject:
    """Give variants other weights and instance counts."""
    name = request["EndpointName"]
    changes = {
        entry["VariantName"]: (entry.get("DesiredWeight"), entry.get("DesiredInstanceCount"))
        for entry in request["DesiredWeightsAndCapacities"]
    }
    _endpoints(call).resize(call.region, name, changes)
    return {"EndpointArn": call.arn(f"endpoint/{name}")}


@action("DescribeEndpoint")
def describe_endpoint(call: ActionCall, request: JsonObject) -> JsonObject:
    """Describe an endpoint as it is now."""
    return _endpoints(call).describe(call.region, request["EndpointName"])


@action("DeleteEndpoint")
def delete_endpoint(call: ActionCall, request: JsonObject) -> None:
    """Stop an endpoint's instances and forget it."""
    _endpoints(call).delete(call.region, request["EndpointName"])


@action("ListEndpoints")
def list_endpoints(call: ActionCall, request: JsonObject) -> JsonObject:
    """List endpoints, newest first."""
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
