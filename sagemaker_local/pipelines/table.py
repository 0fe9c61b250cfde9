"""Pipelines as they are kept: created, updated (each new definition is a version), described, deleted."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ResourceNotFound, ValidationError
from sagemaker_local.pipelines.definitions import graph
from sagemaker_local.pipelines.definitions.parser import parse
from sagemaker_local.state.tags import Tags

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.pipelines.definitions.model import Definition

_KIND = "pipeline"
_VERSION_KIND = "pipeline-version"


@dataclass(frozen=True)
class Pipelines:
    """The pipelines of a server. A record is DescribePipeline's answer without the definition."""

    context: Context
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, region: str, account_id: str, request: dict[str, Any]) -> str:
        """Keep a new pipeline and its tags; returns its ARN. Idempotent: the same ClientRequestToken again returns the same ARN.

        Raises:
            ValidationError: the name is taken, or the definition is not valid.
        """
        name = request["PipelineName"]
        arn = f"arn:aws:sagemaker:{region}:{account_id}:pipeline/{name}"
        if self._is_made(region, request):
            return arn
        # Outside of the lock: the definition may be an object of this server's S3.
        text = self._definition_text(region, request, required=True)
        record = _new_record(arn, request)
        with self._lock:
            if self._is_made(region, request):
                return arn
            Tags(self.context.store).add(arn, request.get("Tags") or [])
            self._save(region, record, text)
        return arn

    def _is_made(self, region: str, request: dict[str, Any]) -> bool:
        """Return whether this very request has made its pipeline before.

        Raises:
            ValidationError: another has.
        """
        name = request["PipelineName"]
        existing = self.find(region, name)
        if existing is not None and existing["ClientRequestToken"] != request["ClientRequestToken"]:
            raise ValidationError(
                f"Pipeline names must be unique within an AWS account and region. Pipeline with name ({name}) already exists."
            )
        return existing is not None

    def update(self, region: str, request: dict[str, Any]) -> tuple[str, int]:
        """Change what the request names; returns the pipeline's ARN and the id of its newest version."""
        self.get(region, request["PipelineName"])
        text = self._definition_text(region, request, required=False)
        with self._lock:
            record = self.get(region, request["PipelineName"])
            for member in ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration"):
                if member in request:
                    record[member] = request[member]
            record["LastModifiedTime"] = time.time()
            self._save(region, record, text)
        return record["PipelineArn"], record["LatestVersionId"]

    def delete(self, region: str, name: str) -> str:
        """Forget a pipeline and its versions; returns its ARN."""
        with self._lock:
            record = self.get(region, name)
            for key, _ in self.context.store.list(_versions(region, name)):
                self.context.store.delete(_versions(region, name), key)
            self.context.store.delete(_KIND, f"{region}/{name}")
            Tags(self.context.store).forget(record["PipelineArn"])
        return str(record["PipelineArn"])

    def find(self, region: str, name: str) -> dict[str, Any] | None:
        """Return the record of a pipeline by its name or ARN, or None."""
        record: dict[str, Any] | None = self.context.store.get(_KIND, f"{region}/{name.rpartition('/')[2]}")
        return record

    def get(self, region: str, name: str) -> dict[str, Any]:
        """Return the record of a pipeline by its name or ARN.

        Raises:
            ResourceNotFound: there is none.
        """
        record = self.find(region, name)
        if record is None:
            arn = name if name.startswith("arn:") else f"arn:aws:sagemaker:{region}:{self.context.account_id}:pipeline/{name}"
            raise ResourceNotFound(f"Pipeline '{arn}' does not exist.")
        return record

    def all_in(self, region: str) -> list[dict[str, Any]]:
        """Return every pipeline of a region."""
        return [record for key, record in self.context.store.list(_KIND) if key.startswith(f"{region}/")]

    def versions(self, region: str, name: str) -> list[dict[str, Any]]:
        """Return the versions of a pipeline, oldest first: ``{"PipelineVersionId", "CreationTime", "Definition", …}``."""
        self.get(region, name)
        entries = self.context.store.list(_versions(region, name.rpartition("/")[2]))
        return sorted((entry for _, entry in entries), key=lambda entry: int(entry["PipelineVersionId"]))

    def version(self, region: str, record: dict[str, Any], version_id: int | None) -> dict[str, Any]:
        """Return a version of a pipeline, the newest when no id is given.

        Raises:
            ResourceNotFound: the pipeline has no such version.
        """
        wanted = record["LatestVersionId"] if version_id is None else version_id
        entry: dict[str, Any] | None = self.context.store.get(_versions(region, record["PipelineName"]), str(wanted))
        if entry is None:
            raise ResourceNotFound(f"Pipeline '{record['PipelineArn']}' has no version {wanted}.")
        return entry

    def update_version(self, region: str, record: dict[str, Any], version_id: int, changes: dict[str, Any]) -> None:
        """Change a version's display name or description, or what its last execution was."""
        with self._lock:
            entry = self.version(region, record, version_id)
            self.context.store.put(_versions(region, record["PipelineName"]), str(version_id), {**entry, **changes})

    def ran(self, region: str, name: str) -> None:
        """Note that an execution of the pipeline has just started."""
        with self._lock:
            record = self.get(region, name)
            record["LastRunTime"] = time.time()
            self.context.store.put(_KIND, f"{region}/{name}", record)

    def _save(self, region: str, record: dict[str, Any], text: str | None) -> None:
        """Keep a record, and a new version when there is a definition text."""
        name = record["PipelineName"]
        if text is not None:
            record["LatestVersionId"] += 1
            version = {
                "PipelineVersionId": record["LatestVersionId"],
                "CreationTime": time.time(),
                "Definition": text,
            }
            self.context.store.put(_versions(region, name), str(record["LatestVersionId"]), version)
        self.context.store.put(_KIND, f"{region}/{name}", record)

    def _definition_text(self, region: str, request: dict[str, Any], *, required: bool) -> str | None:
        """Return the request's definition, checked; None when it has none and need not have one."""
        inline, location = request.get("PipelineDefinition"), request.get("PipelineDefinitionS3Location")
        if inline is not None and location is not None:
            raise ValidationError("Both Pipeline Definition and Pipeline Definition S3 Location shouldn't be present")
        if inline is None and location is None:
            if required:
                raise ValidationError("Either Pipeline Definition or Pipeline Definition S3 location should be provided")
            return None
        text = str(inline) if location is None else self._read(region, location)
        check(text)
        return text

    def _read(self, region: str, location: dict[str, Any]) -> str:
        s3 = self.context.client("s3", region)
        extra = {"VersionId": location["VersionId"]} if "VersionId" in location else {}
        bucket = location["Bucket"]
        try:
            body: bytes = s3.get_object(Bucket=bucket, Key=location["ObjectKey"], **extra)["Body"].read()
        except s3.exceptions.ClientError as error:
            address = f"s3://{bucket}/{location['ObjectKey']}"
            raise ValidationError(f"Unable to read the pipeline definition from {address}: {error}") from error
        return body.decode()


def _new_record(arn: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a pipeline that has no version yet."""
    now = time.time()
    members = ("PipelineDescription", "ParallelismConfiguration")
    return {
        "PipelineArn": arn,
        "PipelineName": request["PipelineName"],
        "PipelineDisplayName": request.get("PipelineDisplayName", request["PipelineName"]),
        "PipelineStatus": "Active",
        "RoleArn": request["RoleArn"],
        "CreationTime": now,
        "LastModifiedTime": now,
        "CreatedBy": {},
        "LastModifiedBy": {},
        "ClientRequestToken": request["ClientRequestToken"],
        "LatestVersionId": 0,
        **{member: request[member] for member in members if member in request},
    }


def check(text: str) -> tuple[Definition, graph.Graph]:
    """Return a definition's text, parsed, and its graph; ValidationError when either cannot be."""
    definition = parse(text)
    return definition, graph.build(definition)


def _versions(region: str, name: str) -> str:
    return f"{_VERSION_KIND}/{region}/{name}"
