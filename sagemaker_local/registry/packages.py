"""Model package groups and model packages, kept as their Describe answers.

moto has them, but drops SourceUri, ModelLifeCycle and ModelCard, resets the approval status in an update that does not name it,
and cannot delete. The API reference of CreateModelPackage, DescribeModelPackage and UpdateModelPackage says otherwise.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import ConflictError, ValidationError
from sagemaker_local.state.records import Record, Records, created
from sagemaker_local.state.tags import Tags
from sagemaker_local.timestamps import iso

if TYPE_CHECKING:
    from sagemaker_local.context import Context

_EVENT = "SageMaker Model Package State Change"
# What UpdateModelPackage sets as it is given. The other members are merged, below.
_SET = (
    "ModelApprovalStatus",
    "ModelPackageRegistrationType",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelLifeCycle",
)
MAX_CUSTOMER_PROPERTIES = 50  # CustomerMetadataMap's limit


@dataclass
class ModelPackages:
    """Groups and packages of one server."""

    context: Context
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def groups(self) -> Records:
        """Model package groups, by name."""
        return Records(self.context.store, "model-package-group")

    @property
    def packages(self) -> Records:
        """Model packages, by ``GROUP/VERSION`` or, unversioned, by name."""
        return Records(self.context.store, "model-package")

    @property
    def _tags(self) -> Tags:
        return Tags(self.context.store)

    def create_group(self, region: str, arn: str, request: Record) -> None:
        """Run CreateModelPackageGroup.

        Raises:
            ValidationError: the name is taken.
        """
        name = request["ModelPackageGroupName"]
        with self._lock:
            if self.groups.get(region, name):
                raise ValidationError(f"Model Package Group already exists: {arn}")
            group = created(request, "ModelPackageGroupArn", arn)
            self.groups.put(region, name, {**group, "ModelPackageGroupStatus": "Completed", "CreatedBy": {}, "LastVersion": 0})
        self._tags.add(arn, request.get("Tags") or [])

    def group(self, region: str, name_or_arn: str) -> Record:
        """Return a group by its name or ARN.

        Raises:
            ValidationError: there is none.
        """
        name = name_or_arn.rpartition("/")[2] if name_or_arn.startswith("arn:") else name_or_arn
        found = self.groups.get(region, name)
        if found is None:
            raise ValidationError(
                f"ModelPackageGroup {_arn(self.context, region, 'model-package-group/' + name)} does not exist."
            )
        return found

    def set_policy(self, region: str, name_or_arn: str, policy: str | None) -> str:
        """Keep a group's resource policy, or forget it (None); returns the group's ARN."""
        with self._lock:  # else a version that is created meanwhile would give its number back
            group = {**self.group(region, name_or_arn), "Policy": policy}
            kept = {name: value for name, value in group.items() if value is not None}
            self.groups.put(region, group["ModelPackageGroupName"], kept)
        return str(group["ModelPackageGroupArn"])

    def delete_group(self, region: str, name_or_arn: str) -> None:
        """Run DeleteModelPackageGroup.

        Raises:
            ConflictError: it still has packages.
        """
        with self._lock:
            group = self.group(region, name_or_arn)
            name = group["ModelPackageGroupName"]
            if any(package.get("ModelPackageGroupName") == name for package in self.packages.all_in(region)):
                raise ConflictError(
                    f"Model Package Group {group['ModelPackageGroupArn']} cannot be deleted because it still contains Model Packages."
                )
            self.groups.delete(region, name)
        self._tags.forget(group["ModelPackageGroupArn"])

    def create(self, region: str, request: Record) -> str:
        """Run CreateModelPackage; returns the ARN. The same ClientToken gives the same package.

        Raises:
            ValidationError: neither or both of group and name, no such group, or the name is taken.
        """
        group, name = request.get("ModelPackageGroupName"), request.get("ModelPackageName")
        if bool(group) == bool(name):
            raise ValidationError("Exactly one of ModelPackageName and ModelPackageGroupName must be provided.")
        token = request.get("ClientToken")
        with self._lock:
            if token and (known := self.context.store.get("model-package-token", f"{region}/{token}")):
                return str(known)
            key, identity = self._identity(region, group, name)
            arn = _arn(self.context, region, f"model-package/{key}")
            package = {**created(request, "ModelPackageArn", arn), **identity, **_BORN}
            if group:
                package["ModelApprovalStatus"] = request.get("ModelApprovalStatus") or "PendingManualApproval"
            self.packages.put(region, key, package)
            if token:
                self.context.store.put("model-package-token", f"{region}/{token}", arn)
        self._tags.add(arn, request.get("Tags") or [])
        self._announce(region, package)
        return arn

    def _identity(self, region: str, group: str | None, name: str | None) -> tuple[str, Record]:
        """Return a new package's key and the members that tell which it is. A version number is never given twice."""
        if name:
            if self.packages.get(region, name):
                raise ValidationError(f"Model Package already exists: {_arn(self.context, region, 'model-package/' + name)}")
            return name, {"ModelPackageName": name}
        record = self.group(region, group or "")
        version = record["LastVersion"] + 1
        self.groups.put(region, record["ModelPackageGroupName"], {**record, "LastVersion": version})
        group = record["ModelPackageGroupName"]
        return f"{group}/{version}", {"ModelPackageGroupName": group, "ModelPackageVersion": version}

    def get(self, region: str, name_or_arn: str) -> Record:
        """Return a package by its ARN, or an unversioned one by its name.

        Raises:
            ValidationError: there is none.
        """
        found = self.packages.get(region, _key(name_or_arn))
        if found is None:
            raise ValidationError(f"ModelPackage {name_or_arn} does not exist.")
        return found

    def update(self, region: str, request: Record) -> str:
        """Run UpdateModelPackage: changes what the request names, and nothing else. Returns the ARN."""
        with self._lock:
            package = self.get(region, request["ModelPackageArn"])
            changed = {**package, **{name: request[name] for name in _SET if request.get(name) is not None}}
            _merge_properties(changed, request)
            if added := request.get("AdditionalInferenceSpecificationsToAdd"):
                changed["AdditionalInferenceSpecifications"] = [*package.get("AdditionalInferenceSpecifications", []), *added]
            if card := request.get("ModelCard"):
                changed["ModelCard"] = {**package.get("ModelCard", {}), **card}
            changed |= {"LastModifiedTime": time.time(), "LastModifiedBy": {}}
            self.packages.put(region, _key(package["ModelPackageArn"]), changed)
        self._announce(region, changed)
        return str(package["ModelPackageArn"])

    def delete(self, region: str, name_or_arn: str) -> None:
        """Run DeleteModelPackage."""
        with self._lock:
            package = self.get(region, name_or_arn)
            self.packages.delete(region, _key(package["ModelPackageArn"]))
        self._tags.forget(package["ModelPackageArn"])

    def _announce(self, region: str, package: Record) -> None:
        """Send the package's state as an event: DescribeModelPackage's answer, with times as text (developer guide)."""
        detail = {name: value for name, value in package.items() if name not in ("CreatedBy", "LastModifiedBy")}
        detail |= {name: iso(detail[name]) for name in ("CreationTime", "LastModifiedTime") if name in detail}
        detail.setdefault("CertifyForMarketplace", False)
        detail["Tags"] = {tag["Key"]: tag["Value"] for tag in self._tags.get(package["ModelPackageArn"])}
        self.context.events.put(region, _EVENT, [package["ModelPackageArn"]], detail)


_BORN: Record = {
    "ModelPackageStatus": "Completed",
    "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
    "CreatedBy": {},
}


def _merge_properties(package: Record, request: Record) -> None:
    given, removed = request.get("CustomerMetadataProperties"), request.get("CustomerMetadataPropertiesToRemove")
    if not given and not removed:
        return
    properties = {**package.get("CustomerMetadataProperties", {}), **(given or {})}
    properties = {name: value for name, value in properties.items() if name not in (removed or [])}
    if len(properties) > MAX_CUSTOMER_PROPERTIES:
        raise ValidationError(
            f"CustomerMetadataProperties can have at most {MAX_CUSTOMER_PROPERTIES} entries, not {len(properties)}."
        )
    package["CustomerMetadataProperties"] = properties


def _key(name_or_arn: str) -> str:
    """Return ``GROUP/VERSION`` or a name, out of an ARN or a name."""
    return name_or_arn.partition(":model-package/")[2] or name_or_arn


def _arn(context: Context, region: str, resource: str) -> str:
    return f"arn:aws:sagemaker:{region}:{context.account_id}:{resource}"


def page_of(packages: list[Record], request: dict[str, Any]) -> list[Record]:
    """ListModelPackages' own filters: group, approval status and type.

    >>> page_of([{"ModelPackageGroupName": "chat", "ModelPackageVersion": 1}], {"ModelPackageGroupName": "other"})
    []
    """
    group = request.get("ModelPackageGroupName", "").rpartition("/")[2]
    kind = request.get("ModelPackageType") or ("Versioned" if group else "Unversioned")
    status = request.get("ModelApprovalStatus")

    def wanted(package: Record) -> bool:
        versioned = "ModelPackageVersion" in package
        return (
            (not group or package.get("ModelPackageGroupName") == group)
            and (kind == "Both" or versioned == (kind == "Versioned"))
            and (not status or package.get("ModelApprovalStatus") == status)
        )

    return [package for package in packages if wanted(package)]
