"""`plan`: a dry run of a release. What it would do, cost, need and change is printed; nothing is created."""

from __future__ import annotations

import json

from config.loader import problem_in
from config.schema import Release
from pipelines.errors import ExecutionError, UsageError
from pipelines.planning.observed_state import ObservedState, observe
from pipelines.planning.plan import build
from pipelines.planning.plan_text import as_text
from pipelines.resolution import resolve
from pipelines.setup.local import stack


def plan(model: str, env: str, *, offline: bool, as_json: bool) -> None:
    """Print what releasing the model would do.

    Args:
        model: A name in config/models, or the path of a model file.
        env: A name in config/environments, or a path.
        offline: Ask neither the Hub nor AWS.
        as_json: Print one JSON object.

    Raises:
        UsageError: The repository cannot be served as the model file says.
        ExecutionError: A quota is known to be too small.
    """
    release = resolve(model, env)
    observed = ObservedState(unknown=["everything: --offline"]) if offline else look_up(release)
    planned = build(release, observed)
    short = [quota.need.quota for quota in planned.quotas if quota.to_do]
    if not as_json:
        print(as_text(planned), flush=True)
    if planned.refusals:
        problems = [str(problem_in(model, finding.location, finding.message)) for finding in observed.refusals]
        raise UsageError("\n".join(problems), planned.to_dict())
    if short:
        raise ExecutionError(f"quotas are too small for this release: {', '.join(short)}", planned.to_dict())
    if as_json:
        print(json.dumps(planned.to_dict(), indent=2))


def look_up(release: Release) -> ObservedState:
    """Look up what there is now. On this machine its services must be running for that; when they are not, nothing is there."""
    environment = release.environment
    hub = environment.hub_endpoint
    if environment.kind == "local":
        services = stack.running()
        if services is None:
            return ObservedState(unknown=["everything: nothing runs on this machine; start it: python -m pipelines.run local up"])
        services.activate(environment)
        hub = services.hub.url if release.model.weights.hub == "local" else hub
    return observe(release, hub)
