"""Many clients that make one thing at the same moment: one is told that it has made it, the others get AWS's error."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sagemaker_local.testing import RunningServer, running
from tests.sagemaker_local.conftest import IMAGE, write_images_file
from tests.sagemaker_local.hosting_client import ROLE, HostingClient
from tests.support.waiting import wait_until

CREATORS = 16
ROUNDS = 4
DEFINITION = json.dumps(
    {"Version": "2020-12-01", "Steps": [{"Name": "Over", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}]}
)
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
Create = Callable[[Any, str], Any]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("crowd")
    with running(folder / "state", write_images_file(folder)) as server:
        yield server


@pytest.fixture(scope="module")
def sagemaker_clients(crowd: RunningServer) -> list[Any]:
    """One client for each creator, whose calls are not retried."""
    config = Config(retries={"total_max_attempts": 1})
    return [crowd.client("sagemaker", config=config) for _ in range(CREATORS)]


@pytest.fixture(scope="module")
def made(crowd: RunningServer) -> str:
    """A model and an endpoint config of this name, and an input for jobs in the bucket ``crowd``."""
    s3 = crowd.client("s3")
    s3.create_bucket(Bucket="crowd")
    s3.put_object(Bucket="crowd", Key="in/a.txt", Body=b"a")
    return HostingClient(crowd.client("sagemaker"), IMAGE).config()


def at_once(clients: list[Any], call: Callable[[Any], Any]) -> tuple[list[Any], list[ClientError]]:
    """What a call answers to each of many clients that make it at the same moment, and the errors of the others."""
    ready = threading.Barrier(len(clients))

    def one(client: Any) -> Any:
        ready.wait()
        try:
            return call(client)
        except ClientError as error:
            return error

    with ThreadPoolExecutor(len(clients)) as pool:
        results = list(pool.map(one, clients))
    return (
        [result for result in results if not isinstance(result, ClientError)],
        [result for result in results if isinstance(result, ClientError)],
    )


def creators(model: str) -> dict[str, tuple[Create, str, str]]:
    """For each resource: how it is created, and the code and a part of the message of AWS's error where its name is taken."""
    container = {"AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["true"]}}
    data = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://crowd/in/"}}}
    variant = {"VariantName": "AllTraffic", "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.g5.xlarge"}
    taken, unique = "already exist", "must be unique within an AWS account"
    return {
        "pipeline": (
            lambda client, name: client.create_pipeline(PipelineName=name, PipelineDefinition=DEFINITION, RoleArn=ROLE),
            "ValidationException",
            unique,
        ),
        "processing job": (
            lambda client, name: client.create_processing_job(
                ProcessingJobName=name, RoleArn=ROLE, ProcessingResources={"ClusterConfig": CLUSTER}, **container
            ),
            "ResourceInUse",
            unique,
        ),
        "training job": (
            lambda client, name: client.create_training_job(
                TrainingJobName=name,
                RoleArn=ROLE,
                AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ["true"]},
                OutputDataConfig={"S3OutputPath": "s3://crowd/out"},
                ResourceConfig=CLUSTER,
                StoppingCondition={"MaxRuntimeInSeconds": 60},
            ),
            "ResourceInUse",
            unique,
        ),
        "transform job": (
            lambda client, name: client.create_transform_job(
                TransformJobName=name,
                ModelName=model,
                TransformInput=data,
                TransformOutput={"S3OutputPath": "s3://crowd/out"},
                TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
            ),
            "ResourceInUse",
            unique,
        ),
        "model": (
            lambda client, name: client.create_model(ModelName=name, PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE),
            "ValidationException",
            taken,
        ),
        "endpoint config": (
            lambda client, name: client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant]),
            "ValidationException",
            taken,
        ),
        "endpoint": (
            lambda client, name: client.create_endpoint(EndpointName=name, EndpointConfigName=model),
            "ValidationException",
            taken,
        ),
        "model package group": (
            lambda client, name: client.create_model_package_group(ModelPackageGroupName=name),
            "ValidationException",
            taken,
        ),
        "model package": (
            lambda client, name: client.create_model_package(ModelPackageName=name),
            "ValidationException",
            taken,
        ),
    }


@pytest.mark.parametrize("resource", sorted(creators("")))
def test_one_of_many_creators_of_a_name_is_told_created(resource: str, sagemaker_clients: list[Any], made: str) -> None:
    create, code, words = creators(made)[resource]
    for _ in range(ROUNDS if resource != "endpoint" else 1):
        name = f"crowd-{uuid.uuid4().hex[:10]}"
        created, refused = at_once(sagemaker_clients, lambda client, name=name: create(client, name))  # type: ignore[misc]
        assert len(created) == 1
        assert {error.response["Error"]["Code"] for error in refused} == {code}
        assert all(words in error.response["Error"]["Message"] for error in refused)


def test_many_with_one_token_are_all_told_the_one_pipeline(sagemaker_clients: list[Any]) -> None:
    name, token = f"crowd-{uuid.uuid4().hex[:10]}", uuid.uuid4().hex
    call = {"PipelineName": name, "PipelineDefinition": DEFINITION, "RoleArn": ROLE, "ClientRequestToken": token}
    created, refused = at_once(sagemaker_clients, lambda client: client.create_pipeline(**call)["PipelineArn"])
    assert len(created) == CREATORS and len(set(created)) == 1 and not refused
    assert len(sagemaker_clients[0].list_pipeline_versions(PipelineName=name)["PipelineVersionSummaries"]) == 1


def test_every_update_of_a_pipeline_is_a_version_of_its_own(sagemaker_clients: list[Any]) -> None:
    name = f"crowd-{uuid.uuid4().hex[:10]}"
    sagemaker_clients[0].create_pipeline(PipelineName=name, PipelineDefinition=DEFINITION, RoleArn=ROLE)
    update = {"PipelineName": name, "PipelineDefinition": DEFINITION}
    versions, refused = at_once(sagemaker_clients, lambda client: client.update_pipeline(**update)["PipelineVersionId"])
    assert sorted(versions) == list(range(2, CREATORS + 2)) and not refused
    assert sagemaker_clients[0].list_pipeline_versions(PipelineName=name)["PipelineVersionSummaries"][0][
        "PipelineVersionId"
    ] == max(versions)


def test_every_version_of_a_group_gets_a_number_of_its_own_whatever_becomes_of_the_group_s_policy(
    sagemaker_clients: list[Any],
) -> None:
    group = f"crowd-{uuid.uuid4().hex[:10]}"
    sagemaker_clients[0].create_model_package_group(ModelPackageGroupName=group)
    policy = json.dumps({"Statement": []})

    def create(client: Any) -> str:
        if client is sagemaker_clients[0]:
            for _ in range(20):
                client.put_model_package_group_policy(ModelPackageGroupName=group, ResourcePolicy=policy)
                client.delete_model_package_group_policy(ModelPackageGroupName=group)
            return ""
        return str(client.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"])

    arns, refused = at_once(sagemaker_clients, create)
    numbers = sorted(int(arn.rpartition("/")[2]) for arn in arns if arn)
    assert numbers == list(range(1, CREATORS)) and not refused


def test_of_many_tags_that_are_added_and_removed_at_once_none_is_lost(sagemaker_clients: list[Any]) -> None:
    made = sagemaker_clients[0].create_model_package_group(ModelPackageGroupName=f"crowd-{uuid.uuid4().hex[:10]}")
    arn, keys = made["ModelPackageGroupArn"], iter(range(CREATORS))
    at_once(sagemaker_clients, lambda client: client.add_tags(ResourceArn=arn, Tags=[{"Key": str(next(keys)), "Value": "x"}]))
    found = {tag["Key"] for tag in sagemaker_clients[0].list_tags(ResourceArn=arn)["Tags"]}
    assert found == {str(number) for number in range(CREATORS)}
    gone = iter(range(0, CREATORS, 2))
    at_once(sagemaker_clients[::2], lambda client: client.delete_tags(ResourceArn=arn, TagKeys=[str(next(gone))]))
    left = {tag["Key"] for tag in sagemaker_clients[0].list_tags(ResourceArn=arn)["Tags"]}
    assert left == {str(number) for number in range(1, CREATORS, 2)}


def test_one_of_many_deletes_goes_through(sagemaker_clients: list[Any]) -> None:
    name = f"crowd-{uuid.uuid4().hex[:10]}"
    sagemaker_clients[0].create_pipeline(PipelineName=name, PipelineDefinition=DEFINITION, RoleArn=ROLE)
    deleted, refused = at_once(sagemaker_clients, lambda client: client.delete_pipeline(PipelineName=name))
    assert len(deleted) == 1 and {error.response["Error"]["Code"] for error in refused} == {"ResourceNotFound"}


def test_one_of_many_updates_goes_through_until_it_has_ended(sagemaker_clients: list[Any], tmp_path: Path) -> None:
    hosting = HostingClient(sagemaker_clients[0], IMAGE)
    endpoint, gate = hosting.endpoint(), tmp_path / "gate"
    gated = hosting.config(START_GATE=str(gate))
    updated, refused = at_once(
        sagemaker_clients, lambda client: client.update_endpoint(EndpointName=endpoint, EndpointConfigName=gated)
    )
    assert len(updated) == 1
    assert all('Cannot update in-progress endpoint "arn:aws:sagemaker' in str(error) for error in refused)
    gate.touch()
    hosting.settled(endpoint, "InService")
    hosting.clean_up()


def test_one_of_many_creators_of_a_log_stream_is_told_created(crowd: RunningServer, sagemaker_clients: list[Any]) -> None:
    job = f"crowd-{uuid.uuid4().hex[:10]}"
    group = "/aws/sagemaker/ProcessingJobs"
    specification = {"ImageUri": IMAGE, "ContainerEntrypoint": ["true"]}
    resources = {"ClusterConfig": CLUSTER}
    sagemaker_clients[0].create_processing_job(
        ProcessingJobName=job, RoleArn=ROLE, AppSpecification=specification, ProcessingResources=resources
    )
    clients = [crowd.client("logs") for _ in range(8)]
    streams = {"logGroupName": group, "logStreamNamePrefix": job}
    wait_until(lambda: clients[0].describe_log_streams(**streams)["logStreams"], "the job's own stream")
    created, refused = at_once(clients, lambda client: client.create_log_stream(logGroupName=group, logStreamName=job))
    assert len(created) == 1
    assert {error.response["Error"]["Code"] for error in refused} == {"ResourceAlreadyExistsException"}
