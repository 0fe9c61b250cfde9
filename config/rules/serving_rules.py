"""Whether SGLang's flags go together, and with the instance: before one that costs $100 an hour says so.

What goes with what is `container/flag_rules.json`, which `container/serve` asks as well (container/flag_rules.py says what it means). It is
read as data: no room imports the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from config.errors import Location
from config.instances import GPU_COUNTS
from config.rules.finding import Finding
from config.schema import ModelFile
from config.serving import Serving
from config.sglang_flags import primary_name, size_in_units
from loadtest.lengths import TokenLengths, longest
from loadtest.profiles import LoadProfile, Replay

_FILE = Path(__file__).parents[2] / "container" / "flag_rules.json"
_LONGEST_VALUE = 1024  # characters of an environment variable (SageMaker API reference, `ModelPackageContainerDefinition`)
_MOST_VARIABLES = 100
_SGLANG: Location = ("serving", "sglang")


def findings(model: ModelFile) -> Iterator[Finding]:
    """Yield what is wrong with a model file's flags, each alone, together, and with its instance types."""
    written = {primary_name(name): name for name in model.serving.sglang}
    flags = flags_by_name(model.serving)
    broken = list(_ranges(flags, written))
    yield from broken
    if not broken:
        yield from _relations(flags, written)
        yield from _instances(model, flags, written)
    yield from _one_machine(flags, written)
    yield from _no_network(flags, written)
    yield from _variables(model)
    context = flags.get("context-length")
    if not broken and isinstance(context, int | float):
        yield from requests_within(model, int(context), "context-length")


def longest_request(model: ModelFile) -> int:
    """Return how many tokens the longest request of the load may have, prompt and answer. Those of files are not known here."""
    profiles = model.evaluation.load_profiles.values()
    return max((profile.longest_request for profile in profiles if not _reads_a_file(profile)), default=0)


def requests_within(model: ModelFile, context_length: int, whose: str) -> Iterator[Finding]:
    """Yield what asks for more tokens than a request may have.

    Args:
        model: The model file.
        context_length: How many tokens a request may have.
        whose: Who says so, for the message.
    """
    for name, profile in model.evaluation.load_profiles.items():
        tokens = profile.longest_request
        if tokens > context_length and not _reads_a_file(profile):
            turns = f"{profile.turns} turns of " if profile.turns > 1 else ""
            message = (
                f"{turns}{_most(profile.prompt_tokens)} tokens and {_most(profile.output_tokens)} of the answer are {tokens:,}, more than {whose}, "
                f"{context_length:,}; shorten them"
            )
            yield Finding(("evaluation", "load_profiles", name, "prompt_tokens"), message, "request-too-long")
    for index, check in enumerate(model.evaluation.prompt_checks):
        if check.max_tokens >= context_length:
            message = f"{check.max_tokens:,} are no fewer than {whose}, {context_length:,}, and the prompt needs room; lower it"
            yield Finding(("evaluation", "prompt_checks", index, "max_tokens"), message, "request-too-long")


def _most(lengths: TokenLengths) -> str:
    """Return the greatest length that a request may have, in words."""
    return f"{longest(lengths):,}" if isinstance(lengths, int) else f"up to {longest(lengths):,}"


def _reads_a_file(profile: LoadProfile) -> bool:
    return isinstance(profile, Replay) or profile.prompts is not None


def flags_by_name(serving: Serving) -> dict[str, Any]:
    """Return the flags by SGLang's first spelling, sizes as numbers, tensor parallel size among them."""
    flags = {primary_name(name): _number(value) for name, value in serving.sglang.items()}
    return {**flags, "tp-size": serving.tensor_parallel_size}


def _world_size(flags: Mapping[str, Any]) -> int:
    replicas = 1 if flags.get("enable-dp-attention") is True else flags.get("dp-size", 1)
    return int(flags["tp-size"] * flags.get("pp-size", 1) * replicas)


def _number(value: Any) -> Any:
    return size_in_units(value) if isinstance(value, str) else value


def _at(written: Mapping[str, str], flag: str) -> Location:
    """Return where a flag stands in the file."""
    if flag in written:
        return (*_SGLANG, written[flag])
    return ("serving", "tensor_parallel_size") if flag == "tp-size" else _SGLANG


def _ranges(flags: Mapping[str, Any], written: Mapping[str, str]) -> Iterator[Finding]:
    for name, bounds in _rules()["ranges"].items():
        value = flags.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or _inside(value, bounds):
            continue
        share = "below" in bounds and bounds["below"] == 1 and 1 < value <= 100
        likely = f"; write {value / 100:g} for {value:g} %" if share else ""
        message = f"{value} will not do, expected {_words(bounds)} ({bounds['why']}){likely}"
        yield Finding(_at(written, name), message, "flag-out-of-range")


def _inside(value: float, bounds: Mapping[str, Any]) -> bool:
    if value == bounds.get("or"):
        return True
    large_enough = value >= bounds.get("least", value) and ("above" not in bounds or value > bounds["above"])
    return bool(large_enough and value <= bounds.get("most", value) and ("below" not in bounds or value < bounds["below"]))


def _words(bounds: Mapping[str, Any]) -> str:
    names = {"least": "at least", "above": "more than", "most": "at most", "below": "less than", "or": "or"}
    return " ".join(f"{'and ' if key in ('most', 'below') else ''}{names[key]} {bounds[key]}" for key in names if key in bounds)


def _relations(flags: Mapping[str, Any], written: Mapping[str, str]) -> Iterator[Finding]:
    known = {**_rules()["defaults"], **flags}
    blamed: set[str] = set()
    for relation in _rules()["relations"]:
        if (
            relation["blame"] in blamed
            or not all(_holds(known, one) for one in relation["if"])
            or _holds(known, relation["then"])
        ):
            continue
        blamed.add(relation["blame"])
        words = re.sub(r"\{([a-z-]+)\}", lambda match: str(known.get(match[1], "")), relation["words"])
        location = _at(written, relation["blame"])
        yield Finding(location, words, "flags-do-not-go-together", is_error=not relation.get("is_warning"))


def _holds(known: Mapping[str, Any], condition: list[Any]) -> bool:
    name, operator, *rest = condition
    match operator:
        case "set":
            return any(known.get(one) not in (None, False) for one in name.split("|"))
        case "unset":
            return known.get(name) in (None, False)
        case "is":
            return bool(known.get(name) == rest[0])
        case "in":
            return known.get(name) in rest[0]
    left, right = _product(known, name), _product(known, rest[0])
    return bool(left > right if operator == ">" else left <= right if operator == "<=" else right and left % right == 0)


def _product(known: Mapping[str, Any], term: Any) -> float:
    """Return a number of the table, or the product of the flags that it names; 0 for one that is not set."""
    if not isinstance(term, str):
        return float(term)
    product = 1.0
    for name in term.split("*"):
        product *= known.get(name, 0)
    return product


def _instances(model: ModelFile, flags: Mapping[str, Any], written: Mapping[str, str]) -> Iterator[Finding]:
    """Refuse more ranks than an instance has GPUs; tensor parallel size alone is `config.serving`'s."""
    needed = _world_size(flags)
    parts = [f"{name} {flags[name]}" for name in ("tp-size", "pp-size", "dp-size") if flags.get(name, 1) != 1]
    blamed = next((name for name in ("pp-size", "dp-size") if flags.get(name, 1) != 1), None)
    if blamed is None:
        return
    serving, staging = model.serving, model.evaluation.staging.instance_types
    for instance_type in dict.fromkeys([serving.instance_type, *serving.fallback_instance_types, *staging]):
        if needed > GPU_COUNTS[instance_type]:
            message = (
                f"{' x '.join(parts)} takes {needed} GPUs, and one {instance_type} has {GPU_COUNTS[instance_type]}; lower one of them"
                + ("" if blamed == "pp-size" else ", or set enable-dp-attention: true, where replicas share the GPUs of tp-size")
            )
            yield Finding(_at(written, blamed), message, "too-few-gpus")
            return


def _one_machine(flags: Mapping[str, Any], written: Mapping[str, str]) -> Iterator[Finding]:
    for name, words in _rules()["one_machine"].items():
        if name in flags and flags[name] != _rules()["defaults"].get(name):
            yield Finding(_at(written, name), f"{flags[name]!r} will not do: {words}", "needs-several-machines")


def _no_network(flags: Mapping[str, Any], written: Mapping[str, str]) -> Iterator[Finding]:
    """Refuse what SGLang would fetch when it starts: the container has no network (EnableNetworkIsolation)."""
    for name in _rules()["no_network"]:
        for path in _paths(flags.get(name)):
            if not path.startswith("/"):
                message = (
                    f"{path!r} would be fetched when the server starts, and the container has no network; name a folder that is there: below "
                    "/opt/ml/model, where the weights are, or in an image of your own"
                )
                yield Finding(_at(written, name), message, "needs-network")


def _paths(value: Any) -> Iterator[str]:
    """Yield the paths of a flag's value: one, several, `name=path`, or {"lora_name": …, "lora_path": …}."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        with suppress(ValueError):  # not JSON: SGLang's own message is better
            yield from _paths(json.loads(value))
    elif isinstance(value, str):
        yield from (word.partition("=")[2] or word for word in value.split())
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, dict):
        yield from _paths(value.get("lora_path") or next((path for path in value.values() if isinstance(path, str)), None))


def _variables(model: ModelFile) -> Iterator[Finding]:
    variables = model.container_environment()
    if len(variables) > _MOST_VARIABLES:
        message = f"{len(variables)} flags are more than the {_MOST_VARIABLES} environment variables that SageMaker takes; leave some out"
        yield Finding(_SGLANG, message, "too-many-flags")
    for flag in model.serving.sglang:
        value = variables[f"SM_SGLANG_{flag.upper().replace('-', '_')}"]
        if len(value) > _LONGEST_VALUE:
            message = f"its value has {len(value):,} characters, and SageMaker's environment variables take {_LONGEST_VALUE:,}; shorten it"
            yield Finding((*_SGLANG, flag), message, "flag-too-long")


@cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return rules
