"""`new`: a first model file for a repository on the Hub, with the reasons in its comments."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from config.base import NAME
from config.loader import MODELS, inspect_model
from config.reading.suggest import did_you_mean
from config.weights import Weights
from delivery.errors import InputError
from delivery.hub import hub_repository
from delivery.hub.sglang_architectures import ARCHITECTURES
from loadtest.profiles import METRICS
from pipelines.errors import UsageError
from pipelines.setup.model_proposal import HubFacts, propose


def new(name: str, repository: str, *, instance: str | None, slo: list[str], hub: str, to: Path | None) -> None:
    """Write a model file for a repository and print where it is and what comes next.

    Args:
        name: The model's name.
        repository: ORGANISATION/NAME on the Hub.
        instance: On which instances; None: the smallest that fits.
        slo: `METRIC=BOUND`, instead of the bounds of the table.
        hub: The Hub's URL. A gated repository is read with the token of `hf auth login`, or HF_TOKEN.
        to: The file; None: config/models/NAME.yaml.

    Raises:
        UsageError: The name will not do, the file exists, or the model fits nowhere.
        InputError: The repository does not exist or cannot be served.
        DeliveryError: The Hub cannot be asked.
    """
    try:
        NAME.check(name)
    except ValueError as error:
        raise UsageError(f"{error}; the name becomes the file's and the endpoint's") from None
    path = to or MODELS / f"{name}.yaml"
    if path.exists():
        raise UsageError(f"{path} is there already; choose another name, or delete it first")
    bounds = dict(_bound(text) for text in slo)
    facts = _ask(repository, hub, os.environ.get("HF_TOKEN") or _stored_token())
    text = propose(name, facts, instance, bounds)
    path.write_text(text, encoding="utf-8")
    for warning in inspect_model(path)[2]:
        print(f"warning: {warning}", file=sys.stderr)
    print(path)
    print(f"next: read it; python -m pipelines.run check {path}; python -m pipelines.run plan {name} --env aws", file=sys.stderr)


def _bound(text: str) -> tuple[str, float]:
    metric, _, value = text.partition("=")
    if metric not in METRICS:
        raise UsageError(f"--slo {text}: no such metric; {did_you_mean(metric, METRICS)}Known: {', '.join(METRICS)}")
    try:
        return metric, float(value)
    except ValueError:
        raise UsageError(f"--slo {text}: {value!r} is no number; write it as in ttft_p99_ms=1500") from None


def _ask(repository: str, hub: str, token: str | None) -> HubFacts:
    known = hub_repository.newest(hub, repository, token)
    weights = Weights(repository=repository, revision=known.revision)
    exclude: list[str] = []
    try:
        selection = hub_repository.choose_files(weights, hub, token, for_sglang=True)
    except InputError as error:
        if "auto_map" not in str(error):
            raise
        exclude = ["*.py"]
        selection = hub_repository.choose_files(weights.model_copy(update={"exclude": exclude}), hub, token, for_sglang=True)
        if not set(selection.architectures) & ARCHITECTURES:
            raise  # nothing but its own code can serve it
    return HubFacts(selection, known.license, known.is_gated, exclude)


def _stored_token() -> str | None:
    from huggingface_hub import get_token  # deferred: 0.5 s

    return get_token()
