"""What a release needs of an AWS account: credentials, roles, bucket, key, images, network, quotas, reservations, and the Hub's models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from config.environment import CapacityReservation, Environment
from config.schema import Release
from delivery.aws.accounts import production_session
from pipelines.checks.findings import Finding, Findings
from pipelines.planning.observed_state import availability_zones, hub_token, weights_bytes
from pipelines.planning.quotas import Quota, needs, read_quotas, shortage
from pipelines.setup.images import tag_images

if TYPE_CHECKING:  # the stubs are a dev dependency
    from types_boto3_ecr.type_defs import ImageIdentifierTypeDef
    from types_boto3_sagemaker.type_defs import DescribeTrainingPlanResponseTypeDef

_STACK = "create or update the stack (infra/delivery.yaml), then: python -m pipelines.run environment STACK_NAME"
_SAGEMAKER = "sagemaker.amazonaws.com"


@dataclass(frozen=True)
class _Account:
    """An environment, the releases that are to run there, and whose credentials are used for what."""

    environment: Environment
    releases: list[Release]
    session: boto3.Session
    """Of the environment's account."""
    there: boto3.Session
    """Of the account that production is in."""


def checks(environment: Environment, releases: list[Release]) -> Iterator[Finding]:
    """Run every check, one after the other; yield what each found. Without credentials only that is checked."""
    session = boto3.Session(region_name=environment.region)
    identity = Findings("credentials")
    _credentials(environment, session, identity)
    yield from identity
    if identity[-1].status == "fail":
        return
    account = _Account(environment, releases, session, production_session(environment, "doctor"))
    parts: dict[str, Callable[[_Account, Findings], None]] = {
        "production": _production,
        "roles": _roles,
        "bucket": _bucket,
        "key": _key,
        "images": _images,
        "network": _network,
        "quotas": _quotas,
        "reservations": _reservations,
        "models": _models,
        "alarms": _alarms,
    }
    for subject, check in parts.items():
        found = Findings(subject)
        check(account, found)
        yield from found


def _credentials(environment: Environment, session: boto3.Session, found: Findings) -> None:
    with found.fail_on_refusal(
        f"AWS does not know who you are in {environment.region}",
        "sign in (aws sso login, aws configure) and, with several profiles, set AWS_PROFILE",
    ):
        caller = session.client("sts").get_caller_identity()
        if caller["Account"] != environment.account_id:
            found.fail(
                f"{caller['Arn']} is of account {caller['Account']}, the environment file is for {environment.account_id}",
                "use credentials of that account (AWS_PROFILE), or change account_id",
            )
        else:
            found.ok(f"{caller['Arn']} in {environment.region}")


def _production(account: _Account, found: Findings) -> None:
    """Check the account that production is in, where it is another; then whether each model's survives the loss of a zone."""
    production = account.environment.production
    if production is not None:
        try:
            account.there.client("sts").get_caller_identity()
            found.ok(f"{production.role} can be assumed")
        except (ClientError, BotoCoreError) as error:
            found.warn(
                f"{production.role} cannot be assumed with these credentials ({error}); quotas, network and alarms there were not looked at",
                "it must trust the environment's promote role; run this command with that role, or as somebody whom it trusts too",
            )
    for release in account.releases:
        if release.model.production.least_instances == 1:
            found.warn(
                f"{release.name} has one instance: when it or its zone fails, nothing answers",
                "production.instance_count: 2, or more",
            )


def _roles(account: _Account, found: Findings) -> None:
    iam = account.session.client("iam")
    for duty, arn in account.environment.roles.model_dump().items():
        if arn is None:
            continue
        name = arn.rsplit("/", 1)[-1]
        with found.fail_on_refusal(f"{duty}: {arn}", _STACK):
            role = iam.get_role(RoleName=name)["Role"]
            if role["Arn"] != arn:
                found.fail(f"{duty}: {arn} is {role['Arn']} in this account", _STACK)
            elif not _trusts(cast("Mapping[str, Any]", role["AssumeRolePolicyDocument"]), _SAGEMAKER):
                found.fail(f"{duty}: {arn} does not trust {_SAGEMAKER}", f"let that service assume it; {_STACK}")
            else:
                found.ok(f"{duty}: {arn}, trusts {_SAGEMAKER}")


def _trusts(document: Mapping[str, Any], service: str) -> bool:
    """Tell whether a trust policy lets a service assume the role."""
    for statement in _listed(document.get("Statement", [])):
        principal = statement.get("Principal", {})
        services = _listed(principal.get("Service", [])) if isinstance(principal, Mapping) else []
        if (
            statement.get("Effect") == "Allow"
            and service in services
            and "sts:AssumeRole" in _listed(statement.get("Action", []))
        ):
            return True
    return False


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _bucket(account: _Account, found: Findings) -> None:
    environment, s3 = account.environment, account.session.client("s3")
    name = environment.bucket
    with found.fail_on_refusal(f"{name} of account {environment.account_id}", _STACK):
        s3.head_bucket(Bucket=name, ExpectedBucketOwner=environment.account_id)
        region = s3.get_bucket_location(Bucket=name)["LocationConstraint"] or "us-east-1"
        if region != environment.region:
            found.fail(
                f"{name} is in {region}, releases in {environment.region}",
                "use a bucket of that region: SageMaker reads no other",
            )
            return
        found.ok(f"{name} in {region}")
        if s3.get_bucket_versioning(Bucket=name).get("Status") != "Enabled":
            found.warn(
                f"{name} has no versioning: what is overwritten or deleted there is lost",
                f"aws s3api put-bucket-versioning --bucket {name} --versioning-configuration Status=Enabled",
            )


def _key(account: _Account, found: Findings) -> None:
    key = account.environment.kms_key
    if key is None:
        found.warn(
            "none: AWS's own keys encrypt volumes and outputs", "kms_key in the environment file, where your rules ask for it"
        )
        return
    with found.fail_on_refusal(key, _STACK):
        state = account.session.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
        if state == "Enabled":
            found.ok(key)
        else:
            found.fail(f"{key} is {state}", f"aws kms enable-key --key-id {key}, or aws kms cancel-key-deletion")


def _images(account: _Account, found: Findings) -> None:
    used = {"steps": tag_images(account.environment).images.steps}
    used |= {f"serving of {release.name}": release.serving_image for release in account.releases}
    for what, uri in used.items():
        registry, _, rest = uri.partition("/")
        owner = registry.split(".")[0]
        if f"{account.environment.account_id}.dkr.ecr." not in registry:
            found.warn(f"{what}: {uri} is in a registry of somebody else; whether it is there was not looked at")
            continue
        repository, identifier = _image_id(rest)
        with found.fail_on_refusal(
            f"{what}: {uri}", "build and push it: run the delivery pipeline, or container/push (docs/aws.md, 4)"
        ):
            account.session.client("ecr").describe_images(registryId=owner, repositoryName=repository, imageIds=[identifier])
            found.ok(f"{what}: {uri}")


def _image_id(rest: str) -> tuple[str, ImageIdentifierTypeDef]:
    """Split `REPOSITORY:TAG` or `REPOSITORY@DIGEST` as ECR asks for them."""
    if "@" in rest:
        repository, _, digest = rest.partition("@")
        return repository.partition(":")[0], {"imageDigest": digest}
    repository, _, tag = rest.partition(":")
    return repository, {"imageTag": tag or "latest"}


def _network(account: _Account, found: Findings) -> None:
    environment = account.environment
    if not environment.subnets:
        found.ok("none: jobs and endpoints run in SageMaker's own network, which spreads instances over zones")
        return
    with found.fail_on_refusal(
        f"subnets {', '.join(environment.subnets)}", "name subnets and security groups of this account and region"
    ):
        zones = availability_zones(environment, account.session)
        account.session.client("ec2").describe_security_groups(GroupIds=environment.security_groups)
        if len(zones) > 1:
            found.ok(f"subnets in {', '.join(sorted(zones))}")
        else:
            found.warn(
                f"all subnets are in {', '.join(zones)}: its loss is the loss of production",
                "name private subnets in two zones or more (infra/network.yaml makes some)",
            )


def _quotas(account: _Account, found: Findings) -> None:
    known: dict[str, dict[str, Quota]] = {}
    sessions = {account.environment.for_production.account_id: account.there, account.environment.account_id: account.session}
    for owner, session in sessions.items():
        if owner != account.environment.account_id and not _has_access(session):
            continue  # there is a finding under `production`
        with found.fail_on_refusal(
            f"the quotas of {owner}",
            "give yourself servicequotas:ListServiceQuotas and servicequotas:ListAWSDefaultServiceQuotas",
        ):
            known[owner] = read_quotas(session.client("service-quotas"))
    for need in needs(account.releases):
        if need.account_id not in known:
            continue
        to_do = shortage(need, known[need.account_id])
        if to_do is None:
            value = known[need.account_id][need.quota].value
            found.ok(f"{need.quota}: {need.instances} of {value:g} ({need.reason})")
        else:
            found.fail(f"{need.quota}: {need.instances} needed in {need.account_id}", to_do)


def _has_access(session: boto3.Session) -> bool:
    try:
        session.client("sts").get_caller_identity()
    except (ClientError, BotoCoreError):
        return False
    return True


def _reservations(account: _Account, found: Findings) -> None:
    environment = account.environment
    own = [(account.session, reservation) for reservation in environment.capacity_reservations]
    theirs = environment.production.capacity_reservations if environment.production else []
    for session, reservation in own + [(account.there, reservation) for reservation in theirs]:
        with found.fail_on_refusal(
            reservation.arn,
            "name a training plan of this account and region whose target is `endpoint`, or take it out of the file",
        ):
            plan = session.client("sagemaker").describe_training_plan(TrainingPlanName=reservation.arn.rsplit("/", 1)[-1])
            _reservation(reservation, plan, found)
    if not own and not theirs:
        found.ok("none: instances are on demand")


def _reservation(reservation: CapacityReservation, plan: DescribeTrainingPlanResponseTypeDef, found: Findings) -> None:
    """Check one plan.

    An endpoint takes Active plans alone, and those whose target it is ("Using training plans for SageMaker inference endpoints").
    """
    types = {summary["InstanceType"] for summary in plan.get("ReservedCapacitySummaries", [])}
    ends = f"until {plan['EndTime']:%Y-%m-%d %H:%M} UTC" if "EndTime" in plan else "without an end"
    if plan["Status"] != "Active":
        found.fail(f"{reservation.arn} is {plan['Status']}", "wait until it is Active, or take it out of the environment file")
    elif "endpoint" not in plan.get("TargetResources", []):
        found.fail(
            f"{reservation.arn} is for {', '.join(plan.get('TargetResources', []))}",
            "buy a plan whose target resource is `endpoint`",
        )
    elif types and reservation.instance_type not in types:
        found.fail(
            f"{reservation.arn} reserves {', '.join(sorted(types))}", f"not {reservation.instance_type}: set its instance_type"
        )
    else:
        found.ok(f"{reservation.arn}: {plan.get('AvailableInstanceCount', 0)} instances free, {ends}")


def _models(account: _Account, found: Findings) -> None:
    token = None
    with found.fail_on_refusal(
        "the Hub's token", "let yourself read the secret, or take hub_token_secret out of the environment file"
    ):
        token = hub_token(account.environment)
    for release in account.releases:
        weights = release.model.weights
        with found.fail_on_refusal(
            release.name, "see the message; a gated repository needs its licence accepted and hub_token_secret"
        ):
            size = weights_bytes(release, account.environment.hub_endpoint, token)
            found.ok(f"{release.name}: {weights.repository} at {weights.revision[:12]} may be read, {size / 1e9:,.1f} GB")


def _alarms(account: _Account, found: Findings) -> None:
    wanted = {alarm: release.name for release in account.releases for alarm in release.model.production.alarms}
    if not wanted or not _has_access(account.there):
        return
    with found.fail_on_refusal("the alarms", "give yourself cloudwatch:DescribeAlarms"):
        pages = account.there.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNames=sorted(wanted))
        known = set()
        for page in pages:
            known |= {alarm["AlarmName"] for alarm in page.get("MetricAlarms", [])}
            known |= {alarm["AlarmName"] for alarm in page.get("CompositeAlarms", [])}
        for alarm, model in wanted.items():
            if alarm in known:
                found.ok(f"{alarm} ({model})")
            else:
                found.fail(f"there is no alarm {alarm}", f"create it, or take it out of production.alarms of {model}")
