"""An environment file, written from a stack's outputs. Comments and keys of a person's own stay; nothing of theirs is replaced unasked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import boto3
import yaml

from config.loader import load_environment
from pipelines.errors import UsageError

EXAMPLE_ACCOUNT = "111122223333"
"""The account of the file as the project ships it (AWS's own example account): whatever stands there with it is nobody's."""
_OUTPUTS = {
    ("bucket",): "Bucket",
    ("roles", "pipeline"): "PipelineRole",
    ("roles", "fetch"): "FetchRole",
    ("roles", "evaluate"): "EvaluateRole",
    ("roles", "promote"): "PromoteRole",
    ("roles", "serve"): "ServeRole",
    ("roles", "reap"): "ReapRole",
    ("images", "steps"): "StepsRepository",
    ("images", "serving"): "ServingRepository",
    ("hub_token_secret",): "HubTokenSecret",
    ("kms_key",): "KmsKey",
    ("subnets",): "Subnets",
    ("security_groups",): "SecurityGroups",
}
"""Setting → the output of infra/delivery.yaml that it takes; an empty output leaves the setting as it is."""
_LISTS = {("subnets",), ("security_groups",)}

Setting = tuple[str, ...]


@dataclass(frozen=True)
class SettingChange:
    """What becomes of one setting."""

    setting: str
    action: Literal["set", "added", "kept"]
    """`kept`: a person's own value, which the stack's would replace."""
    old: Any
    new: Any

    def __str__(self) -> str:
        if self.action == "added":
            return f"{self.setting}: {self.new}"
        if self.action == "set":
            return f"{self.setting}: {self.old} → {self.new}"
        return f"{self.setting}: {self.old} stays, though the stack says {self.new}"


def stack_settings(stack_name: str, region: str | None) -> dict[Setting, Any]:
    """Read what a stack of infra/delivery.yaml says an environment is. UsageError for a stack that is not one."""
    client = boto3.client("cloudformation", region_name=region) if region else boto3.client("cloudformation")
    try:
        [stack] = client.describe_stacks(StackName=stack_name)["Stacks"]
    except client.exceptions.ClientError as error:
        if "does not exist" not in str(error):
            raise
        raise UsageError(
            f"there is no stack {stack_name!r} in {client.meta.region_name}; --region names another region"
        ) from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    absent = sorted(set(_OUTPUTS.values()) - set(outputs))
    if absent:
        raise UsageError(
            f"{stack_name} ({stack['StackStatus']}) has no output {', '.join(absent)}: it is no stack of infra/delivery.yaml, an older one, or "
            "not complete; update it first"
        )
    _, _, _, stack_region, account, _ = stack["StackId"].split(":", 5)
    found: dict[Setting, Any] = {("kind",): "aws", ("region",): stack_region, ("account_id",): account}
    for setting, name in _OUTPUTS.items():
        value = outputs[name].strip()
        if value:
            found[setting] = value.split(",") if setting in _LISTS else value
    return found


def merge(text: str, settings: Mapping[Setting, Any], *, overwrite: bool) -> tuple[list[SettingChange], str]:
    """Put settings into an environment file's text. What a person wrote stays, unless `overwrite`.

    >>> changes, text = merge("account_id: 111122223333  # ours\\n", {("account_id",): "444455556666"}, overwrite=True)
    >>> print(text, end="")
    account_id: "444455556666"  # ours

    Returns:
        What became of each setting that differs, and the new text.
    """
    data = yaml.safe_load(text) or {}
    theirs = not overwrite and str(data.get("account_id")) != EXAMPLE_ACCOUNT
    changes: list[SettingChange] = []
    for setting, value in settings.items():
        old = _value(data, setting)
        name = ".".join(setting)
        if old is None:
            changes.append(SettingChange(name, "added", None, value))
            text = _set(text, setting, value)
        elif str(old) != str(value) and not _is_pin(setting, str(old), value):
            changes.append(SettingChange(name, "kept" if theirs else "set", old, value))
            text = text if theirs else _set(text, setting, value)
    return changes, text


def _is_pin(setting: Setting, old: str, repository: Any) -> bool:
    """Tell whether an image is one of the stack's repository with a tag or digest of the person's choice."""
    return setting[0] == "images" and old.startswith((f"{repository}:", f"{repository}@"))


def _value(data: Any, setting: Setting) -> Any:
    for key in setting:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _set(text: str, setting: Setting, value: Any) -> str:
    """SettingChange or add one setting in the text; every other character stays."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return f"{text}{_nested(setting, value, 0)}"
    for depth, key in enumerate(setting):
        child = next((found for name, found in node.value if name.value == key), None)
        if child is None:
            return _inserted(text, node, _nested(setting[depth:], value, node.start_mark.column))
        if depth == len(setting) - 1:
            # A value that ends its line has the line's end in it when it is a block; scalars and flow lists do not.
            old = text[child.start_mark.index : child.end_mark.index]
            tail = old[len(old.rstrip()) :]
            return text[: child.start_mark.index] + _to_yaml(value) + tail + text[child.end_mark.index :]
        if not isinstance(child, yaml.MappingNode):
            raise UsageError(f"{'.'.join(setting[: depth + 1])} is no mapping in the file; mend it first")
        node = child
    raise AssertionError(setting)


def _inserted(text: str, mapping: yaml.MappingNode, lines: str) -> str:
    """Insert lines behind the last entry of a block mapping."""
    last = mapping.value[-1][1].end_mark.index if mapping.value else mapping.end_mark.index
    end = last if text[:last].endswith("\n") else text.find("\n", last) + 1 or len(text)
    before = text[:end] if text[:end].endswith("\n") else f"{text[:end]}\n"
    return before + lines + text[end:]


def _nested(setting: Setting, value: Any, indent: int) -> str:
    *parents, key = setting
    lines = [f"{' ' * (indent + 2 * depth)}{parent}:\n" for depth, parent in enumerate(parents)]
    return "".join([*lines, f"{' ' * (indent + 2 * len(parents))}{key}: {_to_yaml(value)}\n"])


def _to_yaml(value: Any) -> str:
    """Write the value as YAML on one line; numbers that are names (an account) in quotes."""
    if isinstance(value, list):
        return f"[{', '.join(_to_yaml(item) for item in value)}]"
    return f'"{value}"' if str(value).isdigit() else str(value)


def check(text: str) -> None:
    """Raise ConfigError when the text is no environment file."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.yaml"
        draft.write_text(text, encoding="utf-8")
        load_environment(str(draft))


def write(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
