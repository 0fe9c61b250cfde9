"""Whose credentials a call is made with: the step's own, or a role's in the account that production is in.

Production may be in another account than registry, bucket and pipelines (`production` in the environment file). There the step assumes a
role. Role chaining limits such a session to one hour ("Role chaining" in the IAM user guide), and an update of production may take longer:
the credentials are drawn anew before they expire.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from config.environment import Environment
from delivery.errors import InputError

if TYPE_CHECKING:
    import boto3

_NOT_IN_A_SESSION_NAME = re.compile(r"[^\w+=,.@-]")
_SESSION_NAME_LIMIT = 64  # RoleSessionName (API reference of AssumeRole)


def production_session(environment: Environment, purpose: str) -> boto3.Session:
    """Make a session for production's calls: of the role in its account, or, where that is this account, the step's own.

    Nothing is asked of AWS before the first call; that call fails with AccessDenied when the role does not trust the step's.

    Args:
        environment: The environment file. Its `production` names the role.
        purpose: What CloudTrail shows as the session's name there, as in an execution's id.

    Returns:
        A session whose credentials are drawn anew before they expire.

    Raises:
        InputError: There are no credentials to assume the role with.
    """
    import boto3  # deferred, with what follows: 0.4 s, and the command's --help imports this module

    if environment.production is None:
        return boto3.Session(region_name=environment.region)
    import botocore.session
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    own = botocore.session.get_session()
    own.set_config_variable("region", environment.region)
    credentials = own.get_credentials()
    if credentials is None:
        raise InputError(
            f"there are no AWS credentials to assume {environment.production.role} with; configure some for this machine"
        )
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=own.create_client,
        source_credentials=credentials,
        role_arn=environment.production.role,
        extra_args={"RoleSessionName": _NOT_IN_A_SESSION_NAME.sub("-", purpose)[:_SESSION_NAME_LIMIT]},
    )
    assumed = botocore.session.get_session()
    refreshing = DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")
    assumed._credentials = refreshing  # type: ignore[attr-defined]  # botocore's own way in: it has no public one
    return boto3.Session(botocore_session=assumed, region_name=environment.region)


def group_policy(environment: Environment, package_group: str) -> dict[str, Any] | None:
    """Make the resource policy of a model package group that lets production's role deploy its versions.

    CreateModel with a version of another account needs both: this policy here and the permission in the role there. ("Deploy a Model
    Version from a Different Account", SageMaker developer guide, which gives the whole account more than is needed.)

    Args:
        environment: The environment file.
        package_group: The group's name.

    Returns:
        The policy; None where production is in this account and needs none.
    """
    there = environment.production
    if there is None:
        return None
    partition = there.role.split(":")[1]
    registry = f"arn:{partition}:sagemaker:{environment.region}:{environment.account_id}"
    role = {"AWS": there.role}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ProductionSeesTheGroup",
                "Effect": "Allow",
                "Principal": role,
                "Action": ["sagemaker:DescribeModelPackageGroup"],
                "Resource": f"{registry}:model-package-group/{package_group}",
            },
            {
                "Sid": "ProductionDeploysItsVersions",
                "Effect": "Allow",
                "Principal": role,
                "Action": ["sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages", "sagemaker:CreateModel"],
                "Resource": f"{registry}:model-package/{package_group}/*",
            },
        ],
    }
