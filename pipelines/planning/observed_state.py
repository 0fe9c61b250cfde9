"""The world around a release, as `plan` and `doctor` look it up before anything runs.

A lookup that fails is a sentence, not an error: the rest is still worth knowing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from config.environment import Environment
from config.rules.finding import Finding
from config.schema import Release
from delivery.aws import s3
from delivery.aws.accounts import production_session
from delivery.endpoint.hosting import Hosting
from delivery.errors import DeliveryError, InputError
from delivery.hub import hub_repository
from delivery.hub.fit import Fit, fit
from delivery.hub.selection import Selection
from delivery.names import MANIFEST_FILE, Fact
from delivery.registry import model_packages
from delivery.registry.model_packages import ModelPackage
from pipelines.errors import CommandError
from pipelines.planning.quotas import Quota, read_quotas

_T = TypeVar("_T")


@dataclass(frozen=True)
class InspectedWeights:
    """What the Hub says of a model, compared with its model file."""

    selection: Selection
    fit: Fit

    @property
    def misfits(self) -> list[Finding]:
        """What cannot work."""
        return [finding for finding in self.fit.findings if finding.is_error]

    @property
    def warnings(self) -> list[str]:
        """What works and is worth a thought, what is left out, and what SGLang does not know."""
        notes = [note.removeprefix("warning: ") for note in self.selection.notes]
        return [*notes, *(str(finding) for finding in self.fit.findings if not finding.is_error)]


@dataclass
class ObservedState:
    """What is known of the world around a release; None: not known, and `unknown` says why."""

    weights_bytes: int | None = None
    """How large the files are that a fetch would move."""
    weights: InspectedWeights | None = None
    """What the Hub says of the model."""
    refusals: list[Finding] = field(default_factory=list)
    """What of the repository can never be served so."""
    weights_stored: bool | None = None
    """Whether the bucket has them already."""
    production_exists: bool | None = None
    production_version: int | None = None
    """What production serves."""
    production_release: dict[str, Any] | None = None
    """The release file that that version was registered from."""
    production_evaluation: dict[str, Any] | None = None
    """Its evaluation, as it is stored."""
    quotas: dict[str, dict[str, Quota]] = field(default_factory=dict)
    """Account → its quotas by name; an account is left out when its could not be read."""
    production_zones: int | None = None
    """In how many availability zones production's subnets are; None also where it has none of its own."""
    unknown: list[str] = field(default_factory=list)
    """What could not be looked up, and why."""


def observe(release: Release, hub_endpoint: str) -> ObservedState:
    """Ask the Hub and AWS, each for what it knows; never raises for what they refuse."""
    found = ObservedState()
    session = boto3.Session(region_name=release.environment.region)
    if session.get_credentials() is None:
        found.unknown.append("AWS: there are no credentials here; sign in (aws sso login, aws configure), or set AWS_PROFILE")
        _observe_weights(release, found, hub_endpoint, None)
        return found
    there = _attempt(found, "production's account", lambda: production_session(release.environment, "plan"))
    token = _attempt(found, "the Hub's token", lambda: hub_token(release.environment))
    found.weights_stored = _attempt(found, "the bucket", lambda: _is_stored(release))
    _observe_weights(release, found, hub_endpoint, token)
    if there is not None:
        _attempt(found, "production", lambda: _observe_production(release, found, session, there))
    if release.environment.kind == "aws":
        _observe_account(release, found, session, there)
    return found


def hub_token(environment: Environment) -> str | None:
    """Read the Hub's token of an environment, None where it has none. DeliveryError when it cannot be read."""
    return hub_repository.read_token(environment.hub_token_secret, environment.region)


def weights_bytes(release: Release, hub_endpoint: str, token: str | None) -> int:
    """Sum up the size of the files that FetchWeights would choose. DeliveryError for what it would refuse, or when the Hub cannot be asked."""
    return inspect_weights(release, hub_endpoint, token).selection.total_bytes


def inspect_weights(release: Release, hub_endpoint: str, token: str | None) -> InspectedWeights:
    """Look up what FetchWeights would fetch, and whether it can be served as the model file says.

    Raises:
        InputError: The repository cannot be served.
        DeliveryError: The Hub cannot be asked.
    """
    for_sglang = release.environment.kind == "aws"
    selection = hub_repository.choose_files(release.model.weights, hub_endpoint, token, for_sglang=for_sglang)
    return InspectedWeights(selection, fit(release.model, selection) if for_sglang else Fit([], {}))


def _observe_weights(release: Release, found: ObservedState, hub_endpoint: str, token: str | None) -> None:
    try:
        found.weights = _attempt(found, "the Hub", lambda: inspect_weights(release, hub_endpoint, token), but=InputError)
    except InputError as error:
        found.refusals.append(Finding(tuple((error.key or "weights.repository").split(".")), str(error), "hub"))
        return
    if found.weights is not None:
        found.weights_bytes = found.weights.selection.total_bytes
        found.refusals += found.weights.misfits


def _observe_account(release: Release, found: ObservedState, session: boto3.Session, there: boto3.Session | None) -> None:
    """Look up quotas, of both accounts where there are two, and the zones of production's subnets."""
    production = release.environment.for_production
    for account, owner in {release.environment.account_id: session, production.account_id: there}.items():
        if owner is None:
            continue  # it is among `unknown` already
        known = _attempt(found, f"the quotas of {account}", lambda owner=owner: read_quotas(owner.client("service-quotas")))  # type: ignore[misc]
        if known:
            found.quotas[account] = known
    if there is not None and production.subnets:
        zones = _attempt(found, "production's subnets", lambda: availability_zones(production, there))
        found.production_zones = len(zones) if zones is not None else None


def availability_zones(environment: Environment, session: boto3.Session) -> set[str]:
    """Look up the availability zones of an environment's subnets."""
    listed = session.client("ec2").describe_subnets(SubnetIds=environment.subnets)["Subnets"]
    return {subnet["AvailabilityZone"] for subnet in listed}


def _attempt(found: ObservedState, what: str, ask: Callable[[], _T], but: type[Exception] | tuple[()] = ()) -> _T | None:
    """Return what `ask` returns; None, and why among what is unknown, where it is refused. `but` is raised all the same."""
    try:
        return ask()
    except but:
        raise
    except (ClientError, BotoCoreError, DeliveryError, CommandError) as error:
        found.unknown.append(f"{what}: {error}")
        return None


def _is_stored(release: Release) -> bool:
    location = s3.S3Uri.parse(release.weights_prefix) / MANIFEST_FILE
    return s3.read(s3.client(release.environment.region), location) is not None


def _observe_production(release: Release, found: ObservedState, session: boto3.Session, there: boto3.Session) -> None:
    hosting = Hosting(there.client("sagemaker"), there.client("logs"))
    state = hosting.state(release.model.production.endpoint)
    found.production_exists = state is not None
    if state is None or not state.config:
        return
    found.production_version = hosting.version_of(state.config)
    if found.production_version is None:
        found.unknown.append(f"the version in production: {state.config} was not made by this project")
        return
    environment = release.environment
    arn = (
        f"arn:{environment.roles.pipeline.split(':')[1]}:sagemaker:{environment.region}:{environment.account_id}:model-package/"
        f"{release.package_group}/{found.production_version}"
    )
    package = model_packages.read(session.client("sagemaker"), arn)
    found.production_release = _document(found, environment.region, package, Fact.RELEASE_FILE, "the release file")
    if any(profile.is_relative for profile in release.model.evaluation.load_profiles.values()):
        found.production_evaluation = _document(found, environment.region, package, Fact.EVALUATION_REPORT, "the evaluation")


def _document(found: ObservedState, region: str, package: ModelPackage, fact: Fact, what: str) -> dict[str, Any] | None:
    """Read a JSON object that a version names; None, and why among what is unknown, where it is gone or is none."""
    location = package.facts.get(fact)
    body = s3.read(s3.client(region), s3.S3Uri.parse(location)) if location else None
    if body is None:
        found.unknown.append(f"{what} of version {package.version}: it is gone")
        return None
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        found.unknown.append(f"{what} of version {package.version}: {location} is no JSON object")
        return None
    return document
