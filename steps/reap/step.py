"""Delete every SageMaker endpoint, endpoint config and model that has outlived its run, and say so.

A resource that must not outlive its run is called `staging-…` and carries release:expires-at. It is deleted when that time has passed, or
when the pipeline execution that made it (release:model, release:execution) is over: nobody will delete it any more. Resources of another
name or without the tag are never touched, and the reaper's role lets it delete no others. One that cannot be deleted, or whose tags or
execution cannot be read, keeps none of the others: the pass goes on, and fails at its end. What has expired is told by SageMaker's clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from delivery.aws.client_errors import is_absent, translate_client_errors
from delivery.aws.clock import ServiceClock
from delivery.endpoint.hosting import is_busy
from delivery.errors import DeliveryError
from delivery.names import EXECUTION_TAG, EXPIRES_TAG, MODEL_TAG, REAPED_FILE, evaluation_pipeline_name, pipeline_name
from steps.reap.models import ReapArguments, ReapedResource, ReapOutcome, ReapPass, ResourceKind, Unread

if TYPE_CHECKING:
    from types_boto3_sagemaker.client import SageMakerClient

logger = logging.getLogger(__name__)

_Page = TypeVar("_Page", bound=Mapping[str, Any])
_PREFIX = "staging-"
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})
"""A call for each resource's tags: SageMaker may throttle them."""
_OVER = {"Succeeded", "Failed", "Stopped"}
_POLL_S = 1.0
_KINDS: tuple[ResourceKind, ...] = ("endpoint", "endpoint-config", "model")
"""In the order of deletion."""
_LISTINGS = 2
_NAMED = 5  # of what could not be read, in the message


@dataclass(frozen=True)
class ExpiringResource:
    """A resource that carries an expiry."""

    kind: ResourceKind
    name: str
    arn: str
    tags: dict[str, str]


def run(arguments: ReapArguments) -> ReapPass:
    """Make one pass over the region.

    Args:
        arguments: Arguments of this run.

    Returns:
        What was seen, and what became of it.

    Raises:
        DeliveryError: At the end of the pass: something could not be deleted, or it could not be read whether it has outlived its run.
    """
    sagemaker = boto3.client("sagemaker", region_name=arguments.region, config=_PATIENT)
    done = Reaper(sagemaker, dry_run=arguments.dry_run, wait_s=arguments.wait_s).reap()
    for item in done.reaped:
        logger.info(f"{item.kind} {item.name}: {item.outcome}; {item.reason}")
    deleted = sum(item.outcome == "deleted" for item in done.reaped)
    logger.info(f"{done.seen} resources carry an expiry, {len(done.reaped)} have outlived their run, {deleted} were deleted")
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / REAPED_FILE).write_text(done.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for unread in done.unread:
        logger.warning(f"{unread.kind} {unread.name or '(all of them)'}: {unread.error}")
    if failures := _failures(done):
        raise DeliveryError("; ".join(failures))
    return done


def _failures(done: ReapPass) -> list[str]:
    """Say what a pass could not do that it had to."""
    failures = []
    if failed := [item for item in done.reaped if item.outcome == "failed"]:
        names = ", ".join(f"{item.kind} {item.name}" for item in failed)
        failures.append(f"{len(failed)} of {len(done.reaped)} could not be deleted ({names}): {failed[0].error}")
    if unread := [item for item in done.unread if item.kind != "execution"]:
        names = ", ".join(f"{item.kind} {item.name}" if item.name else f"every {item.kind}" for item in unread[:_NAMED])
        failures.append(
            f"{len(unread)} could not be read, and may have outlived their run "
            f"({names}{', …' if len(unread) > _NAMED else ''}): {unread[0].error}"
        )
    return failures


class Reaper:
    """One pass."""

    def __init__(self, sagemaker: SageMakerClient, *, dry_run: bool, wait_s: float) -> None:
        """`sagemaker` is a boto3 client; `wait_s` is how long one pass may wait for busy endpoints, all of them together."""
        self._sagemaker = sagemaker
        self._dry_run = dry_run
        self._until = time.monotonic() + wait_s
        self._clock = ServiceClock()
        self._executions: dict[str, str | None] = {}
        self._unread: list[Unread] = []
        self._remaining: set[str] = set()
        """The names of what stays, or may stay: nothing behind it is deleted."""

    def reap(self) -> ReapPass:
        """Delete what has outlived its run."""
        seen, reaped = 0, []
        for resource in self._expiring():
            seen += 1
            reason = self._reason(resource)
            if reason is None:
                self._remaining.add(resource.name)
                continue
            outcome, error = self._end(resource, in_use=resource.name in self._remaining)
            if outcome in ("busy", "failed"):
                self._remaining.add(resource.name)
            reaped.append(
                ReapedResource(
                    kind=resource.kind,
                    name=resource.name,
                    model=resource.tags.get(MODEL_TAG, ""),
                    execution=resource.tags.get(EXECUTION_TAG, ""),
                    reason=reason,
                    outcome=outcome,
                    error=error,
                )
            )
        at = self._clock.now().isoformat(timespec="seconds")
        return ReapPass(at=at, seen=seen, reaped=reaped, unread=self._unread)

    def _expiring(self) -> Iterator[ExpiringResource]:
        """List what carries an expiry, endpoints first, then configs, then models: what stands behind a living endpoint is known before its turn."""
        for kind in _KINDS:
            listed = self._list(kind)
            if listed is None and kind == "endpoint":
                return  # what stands behind one that lives is not known
            for name, arn in listed or []:
                tags = self._tags(kind, name, arn) if name.startswith(_PREFIX) else {}
                if EXPIRES_TAG in tags:
                    yield ExpiringResource(kind, name, arn, tags)

    def _list(self, kind: ResourceKind) -> list[tuple[str, str]] | None:
        """List the resources of a kind; None where they cannot be listed. It is asked twice: all of them hang on that one call."""
        for _ in range(_LISTINGS):
            try:
                with translate_client_errors(f"list every {kind}"):
                    return list(self._listed(kind))
            except DeliveryError as error:
                refused = str(error)
        self._unread.append(Unread(kind=kind, name="", error=refused))
        return None

    def _listed(self, kind: ResourceKind) -> Iterator[tuple[str, str]]:
        """List the resources of a kind, each with its name and its ARN."""
        match kind:
            case "endpoint":
                for endpoints in self._told(self._sagemaker.get_paginator("list_endpoints").paginate(NameContains=_PREFIX)):
                    yield from ((item["EndpointName"], item["EndpointArn"]) for item in endpoints["Endpoints"])
            case "endpoint-config":
                for configs in self._told(self._sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=_PREFIX)):
                    yield from ((item["EndpointConfigName"], item["EndpointConfigArn"]) for item in configs["EndpointConfigs"])
            case "model":
                for models in self._told(self._sagemaker.get_paginator("list_models").paginate(NameContains=_PREFIX)):
                    yield from ((item["ModelName"], item["ModelArn"]) for item in models["Models"])

    def _told(self, pages: Iterable[_Page]) -> Iterator[_Page]:
        """Read SageMaker's clock off each page."""
        asked_at = time.monotonic()
        for page in pages:
            self._clock.note(page, asked_at)
            yield page
            asked_at = time.monotonic()

    def _tags(self, kind: ResourceKind, name: str, arn: str) -> dict[str, str]:
        """Read the tags of a resource; none where they cannot be read."""
        try:
            with translate_client_errors(f"read the tags of {arn}"):
                pages = self._told(self._sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn))
                return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
        except DeliveryError as error:
            if not is_absent(error):  # else it was deleted since it was listed
                self._unread.append(Unread(kind=kind, name=name, error=str(error)))
                self._remaining.add(name)
            return {}

    def _reason(self, resource: ExpiringResource) -> str | None:
        """Return why the resource should be gone; None when it may stay."""
        text = resource.tags[EXPIRES_TAG]
        try:
            expires = datetime.fromisoformat(text)
        except ValueError:
            return f"its expiry {text!r} is no ISO 8601 time"
        if self._clock.now() >= (expires if expires.tzinfo else expires.replace(tzinfo=UTC)):
            return f"it expired at {text}"
        status = self._execution_status(resource)
        return f"the execution that made it is {status}" if status in _OVER else None

    def _execution_status(self, resource: ExpiringResource) -> str | None:
        """Return the status of the pipeline execution that made it; None when it is not known."""
        model, execution = resource.tags.get(MODEL_TAG), resource.tags.get(EXECUTION_TAG)
        if not model or not execution:
            return None
        account = resource.arn.rsplit(":", 1)[0]  # arn:PARTITION:sagemaker:REGION:ACCOUNT
        arns = [f"{account}:pipeline/{of(model)}/execution/{execution}" for of in (pipeline_name, evaluation_pipeline_name)]
        if arns[0] not in self._executions:
            self._executions[arns[0]] = self._read_first(arns)
        return self._executions[arns[0]]

    def _read_first(self, arns: list[str]) -> str | None:
        """Return the status of the execution that one of these is; None when it is not known."""
        for arn in arns:
            try:
                with translate_client_errors(f"look at {arn}"):
                    status = self._read_execution_status(arn)
            except DeliveryError as error:
                self._unread.append(Unread(kind="execution", name=arn, error=str(error)))
                return None
            if status is not None:
                return status
        return None

    def _read_execution_status(self, arn: str) -> str | None:
        """Return its status; None when there is no such execution: what was not made by a pipeline has its expiry alone."""
        try:
            return self._sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"]
        except ClientError as error:
            if is_absent(error) or error.response["Error"]["Code"] in {"ResourceNotFound", "ValidationException"}:
                return None
            raise

    def _end(self, resource: ExpiringResource, *, in_use: bool) -> tuple[ReapOutcome, str]:
        """Delete the resource unless it is in use; what became of it, and why it could not be deleted."""
        if in_use:
            return "in use", ""
        try:
            return self._delete(resource), ""
        except DeliveryError as error:
            return "failed", str(error)

    def _delete(self, resource: ExpiringResource) -> Literal["deleted", "busy", "dry run"]:
        if self._dry_run:
            return "dry run"
        with translate_client_errors(f"delete the {resource.kind} {resource.name}"):
            while True:
                try:
                    self._ask_to_delete(resource)
                except ClientError as error:
                    if is_absent(error):
                        return "deleted"
                    if not is_busy(error):
                        raise
                    if time.monotonic() >= self._until:
                        return "busy"
                    time.sleep(_POLL_S)
                else:
                    return "deleted"

    def _ask_to_delete(self, resource: ExpiringResource) -> None:
        match resource.kind:
            case "endpoint":
                self._sagemaker.delete_endpoint(EndpointName=resource.name)
            case "endpoint-config":
                self._sagemaker.delete_endpoint_config(EndpointConfigName=resource.name)
            case "model":
                self._sagemaker.delete_model(ModelName=resource.name)
