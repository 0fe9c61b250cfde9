"""infra/delivery.yaml with its references resolved, as one account and region would get it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).parents[2] / "infra" / "delivery.yaml"
ACCOUNT, REGION = "123456789012", "us-east-1"
_ROLES = {"Pipeline", "Fetch", "Evaluate", "Promote", "Serve", "Events", "Reap", "Build", "Delivery"}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as its long ones."""


def _long_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = value.split(".", 1)
    return {suffix if suffix == "Ref" else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _long_form)


@cache
def template() -> dict[str, Any]:
    """The template as written."""
    loaded: dict[str, Any] = yaml.load(TEMPLATE.read_text(encoding="utf-8"), _Loader)
    return loaded


class Stack:
    """What the template becomes in one account, with one bucket, no VPC, and production in another account."""

    def __init__(self, bucket: str) -> None:
        self._known: dict[str, Any] = {
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": None,
            "AWS::StackName": "release",
            "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/release/1",
            "Bucket": bucket,
            "Bucket.Arn": f"arn:aws:s3:::{bucket}",
            "Key.Arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k",
            "HubToken": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:release/hugging-face-token-*",
            "Connection": f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/c",
            "Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:release",
            "Delivery": "delivery",
            "Build": "release",
        }
        for duty in _ROLES:
            self._known[f"{duty}Role.Arn"] = f"arn:aws:iam::{ACCOUNT}:role/release-{duty.lower()}"
        for repository in ("Steps", "Serving"):
            self._known[f"{repository}Repository.Arn"] = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/release-{repository.lower()}"
        for name, parameter in template()["Parameters"].items():
            self._known[name] = parameter.get("Default", "")
        for duty in ("", "Serve"):
            self._known[f"Production{duty}RoleArn"] = f"arn:aws:iam::999999999999:role/production{duty.lower()}"

    def resource(self, name: str) -> dict[str, Any]:
        """The properties of a resource, resolved."""
        properties: dict[str, Any] = self._resolved(template()["Resources"][name]["Properties"])
        return properties

    def statements(self, role: str) -> list[dict[str, Any]]:
        """What the code of a duty may do with its role (`EvaluateRole`): the role's own policy, and what two duties share."""
        own = [policy["PolicyDocument"] for policy in self.resource(role)["Policies"]]
        return [
            statement for document in own + self._shared(role, of_sagemaker=False) for statement in listed(document["Statement"])
        ]

    def managed_statements(self, role: str) -> list[dict[str, Any]]:
        """What SageMaker itself does with the role."""
        return [statement for document in self._shared(role, of_sagemaker=True) for statement in listed(document["Statement"])]

    def _shared(self, role: str, *, of_sagemaker: bool) -> list[dict[str, Any]]:
        """The managed policies that are attached to a role, those that are there without a VPC."""
        return [
            self.resource(name)["PolicyDocument"]
            for name, resource in template()["Resources"].items()
            if resource["Type"] == "AWS::IAM::ManagedPolicy"
            and {"Ref": role} in resource["Properties"]["Roles"]
            and "Condition" not in resource
            and name.startswith("SageMaker") == of_sagemaker
        ]

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, list):
            return [item for item in map(self._resolved, value) if item is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(function, argument)] = value.items()
            if function == "Ref":
                return self._known.get(argument, argument)
            if function.startswith("Fn::"):
                return self._function(function.removeprefix("Fn::"), argument)
        return {
            key: resolved
            for key, resolved in ((key, self._resolved(item)) for key, item in value.items())
            if resolved is not None
        }

    def _function(self, function: str, argument: Any) -> Any:
        match function:
            case "Sub":
                text, own = argument if isinstance(argument, list) else (argument, {})
                known = self._known | self._resolved(own)
                return re.sub(r"\$\{([\w:.]+)\}", lambda found: str(known.get(found[1], found[0])), text)
            case "GetAtt":
                name = ".".join(argument)
                return self._known.get(name, f"arn:aws:of:{REGION}:{ACCOUNT}:{name}")
            case "If":
                condition, yes, no = argument
                return self._resolved(yes if condition in {"MakesConnection", "HasOtherAccount"} else no)
            case "Join":
                separator, parts = argument
                resolved = self._resolved(parts)
                return separator.join(resolved) if isinstance(resolved, list) else resolved
        raise NotImplementedError(function)


def listed(value: Any) -> list[Any]:
    """A value that may stand for a list of one."""
    return list(value) if isinstance(value, list) else [value]


def role_of(arn: str) -> str:
    """The role in the template that an environment's role stands for: `…role/release-evaluate` → EvaluateRole."""
    return f"{arn.rsplit('/release-', 1)[-1].capitalize()}Role"


def actions(statements: Iterable[Mapping[str, Any]]) -> set[str]:
    """Every action that statements allow."""
    return {action for statement in statements for action in listed(statement["Action"])}
