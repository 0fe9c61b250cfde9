"""Versions of another account's package group, where that group's resource policy lets this account use them.

"Deploy a Model Version from a Different Account" in the developer guide. Of a policy's statements the principals' accounts, the actions and
the effect are looked at, not the resources and conditions; which role asks is not, since nothing here checks who calls.
"""

from __future__ import annotations

import fnmatch
import json
import re
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, ValidationError
from sagemaker_local.registry.packages import ModelPackages

if TYPE_CHECKING:
    from sagemaker_local.context import Context
    from sagemaker_local.state.records import Record

_ACCOUNT = re.compile(r"arn:[^:]+:sagemaker:[^:]*:(\d{12}):model-package/")


def package(context: Context, region: str, name_or_arn: str, action: str) -> Record:
    """Return a package by its ARN, of this account or of another one whose group's policy allows `action`; or an unversioned one by its name.

    Raises:
        ValidationError: there is none.
        AwsError: AccessDeniedException: it is another account's, whose policy does not allow it.
    """
    found = _ACCOUNT.match(name_or_arn)
    if found is None or found[1] == context.account_id:
        return context.part(ModelPackages).get(region, name_or_arn)
    registry = context.of_account(found[1]).part(ModelPackages)
    group = name_or_arn.partition(":model-package/")[2].partition("/")[0]
    try:
        policy = json.loads(registry.group(region, group).get("Policy") or "{}")
    except ValidationError:
        policy = {}  # no such group: to others that looks as one that is not shared
    if not any(_allows(statement, context.account_id, action) for statement in _listed(policy.get("Statement"))):
        raise AwsError(
            "AccessDeniedException",
            f"User: arn:aws:iam::{context.account_id}:root is not authorized to perform: {action} on resource: {name_or_arn} because no "
            "resource-based policy allows the action",
        )
    return registry.get(region, name_or_arn)


def _allows(statement: dict[str, Any], account_id: str, action: str) -> bool:
    principal = statement.get("Principal")
    named = _listed(principal.get("AWS")) if isinstance(principal, dict) else _listed(principal)
    is_named = any(who in ("*", account_id) or f"::{account_id}:" in who for who in named)
    actions = _listed(statement.get("Action"))
    return statement.get("Effect") == "Allow" and is_named and any(fnmatch.fnmatchcase(action, pattern) for pattern in actions)


def _listed(value: Any) -> list[Any]:
    """Return a policy's member that may be one thing or a list of them."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
