"""`python -m pipelines.run changed`: a release for each model file that changed since the last success. What CodeBuild runs.

It may be run again at any time: a release is started once for each commit that changed a model file, whoever asks how often. The last
success is an object in the bucket, `state/delivered.json`; it moves when everything that was to be started is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import boto3
import yaml

from config import loader
from config.environment import Environment
from config.schema import Release
from delivery.aws.client_errors import is_absent
from delivery.names import evaluation_pipeline_name, pipeline_name
from pipelines import resolution
from pipelines.checks import preflight
from pipelines.commands import failures
from pipelines.commands.releases.commits import ChangedFile, Commits
from pipelines.errors import UsageError
from pipelines.executions import sending
from pipelines.executions.execution import Executions
from pipelines.next_command import command
from pipelines.setup.images import tag_images

STATE_KEY = "state/delivered.json"
"""Where the last success stands in the bucket: {"commit": …, "at": …}."""


@dataclass
class StartedRelease:
    """A release that this commit asks for."""

    model: str
    execution: str
    is_new: bool
    """Whether it was started now; else an earlier run of the same commit did."""
    links: dict[str, str]


@dataclass
class DeletedModel:
    """A model whose file is gone, and what of it still runs."""

    model: str
    endpoint: str
    status: str
    """The endpoint's status, or in which other account it would be; empty: there is none."""
    executions: list[str]
    """Those that are not over."""


@dataclass
class Delivery:
    """What became of everything that changed."""

    since: str
    commit: str
    is_first: bool = False
    """Whether nothing was delivered before: then only what the commit itself changed counts, not every model file that is there."""
    started: list[StartedRelease] = field(default_factory=list)
    deleted: list[DeletedModel] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Model → why nothing is started for it."""
    failed: dict[str, list[str]] = field(default_factory=dict)
    """Model → what is wrong with its file, or what could not be done for it."""
    exit_code: int = 0


def changed(env: str, since: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Send the definitions, start a release for each changed model file, print what became of it. Idempotent a commit.

    Exits with 2 when a model file is wrong, 1 when something could not be started; what is right is started all the same.

    Args:
        env: A name in config/environments, or a path.
        since: The commit to compare with; None: the last success, which the bucket knows.
        dry_run: Print what would be started; start and send nothing.
        as_json: Print one JSON object.

    Raises:
        UsageError: A model file is not committed, or the checked-out commit is older than the last success.
    """
    environment = tag_images(loader.load_environment(env))
    commits = Commits(loader.MODELS)
    dirty = commits.uncommitted()
    if dirty:
        raise UsageError(f"{dirty[0]} differs from the commit; commit or restore it: a release is of what is committed")
    resolution.attach(environment)
    deliverer = _Deliverer(environment, env, commits)
    delivery = deliverer.deliver(None if since is None else commits.resolve(since), dry_run=dry_run)
    print(json.dumps(asdict(delivery)) if as_json else _text(delivery, env, dry_run=dry_run))
    for model, problems in delivery.failed.items():
        print(*(f"error: {model}: {problem}" for problem in problems), sep="\n", file=sys.stderr)
    if delivery.exit_code:
        sys.exit(delivery.exit_code)


class _Deliverer:
    """Brings what changed to SageMaker, one run of the command."""

    def __init__(self, environment: Environment, env: str, commits: Commits) -> None:
        self._environment, self._env, self._commits = environment, env, commits
        self._executions = Executions(environment)
        self._s3 = boto3.client("s3", region_name=environment.region)
        self._sagemaker = boto3.client("sagemaker", region_name=environment.region)

    def deliver(self, since: str | None, *, dry_run: bool) -> Delivery:
        last = self._last_success()
        if last is not None and since is None:
            last = self._commits.resolve(last)
        head = self._commits.head
        delivery = Delivery(since or last or self._commits.before_head(), head, is_first=not (since or last))
        if since is None and last is not None and last != head and self._commits.is_ancestor(head, last):
            raise UsageError(
                f"{head[:12]} is older than {last[:12]}, which was delivered already; to go back, revert in a new commit, or roll back: "
                f"python -m pipelines.run rollback MODEL --env {self._env}"
            )
        changes = self._commits.changed(delivery.since)
        if not dry_run:
            self._send_definitions(delivery, {change.path.stem for change in changes})
        for change in changes:
            self._deliver_one(delivery, change, dry_run=dry_run)
        if not dry_run and not delivery.exit_code:
            self._record_success(head)
        return delivery

    def _deliver_one(self, delivery: Delivery, change: ChangedFile, *, dry_run: bool) -> None:
        model = change.path.stem
        if change.is_deleted:
            delivery.deleted.append(self._deleted_model(delivery.since, change))
            return
        with _collect_failures(delivery, model):
            if self._is_for_this_machine(delivery, change.path):
                return
            release = resolution.resolve(str(change.path), self._env)
            # The display name, not the commit that is delivered: a later commit that comes by finds the same release.
            display_name = f"commit-{change.commit}"
            running = self._executions.find_by_display_name(pipeline_name(model), display_name)
            if running is None and dry_run:
                delivery.skipped[model] = "would be started; nothing is, as --dry-run asks"
                return
            hub = preflight.prepare(release, str(change.path)) if running is None else ""
            if not dry_run:
                sending.send_release(release, self._executions)
            arn = running or sending.start(release, hub, self._executions, only_once=display_name)
            delivery.started.append(StartedRelease(model, arn, running is None, _links(release, arn)))

    def _is_for_this_machine(self, delivery: Delivery, path: Path) -> bool:
        name, content = loader.load_model(str(path))
        if self._environment.kind == "aws" and content.weights.hub == "local":
            delivery.skipped[name] = "its weights.hub is `local`, which only this project's own machine-local releases can reach"
            return True
        return False

    def _send_definitions(self, delivery: Delivery, changed_models: set[str]) -> None:
        """Send those that belong to no changed model: promotion, reap, and the releases of the other models as they would be made today."""
        sending.send_shared(self._environment, self._executions)
        for model in loader.model_names():
            if model in changed_models:
                continue  # sent below, when the Hub was asked whether it can be released
            with _collect_failures(delivery, model):
                if not self._is_for_this_machine(Delivery("", ""), loader.MODELS / f"{model}.yaml"):
                    sending.send_release(resolution.resolve(model, self._env), self._executions)

    def _deleted_model(self, since: str, change: ChangedFile) -> DeletedModel:
        """Look up what is still there of a model whose file is gone. Its file as it was names the endpoint."""
        model = change.path.stem
        try:
            content = yaml.safe_load(self._commits.content(since, change.path))
        except yaml.YAMLError:
            content = None  # it was never released as it was then; an earlier version of it may have been, under the usual name
        production = content.get("production") if isinstance(content, dict) else None
        endpoint = str(production.get("endpoint", model) if isinstance(production, dict) else model)
        elsewhere = self._environment.production
        status = f"in account {elsewhere.account_id}, look there" if elsewhere else self._endpoint_status(endpoint)
        running = [
            arn for name in (pipeline_name(model), evaluation_pipeline_name(model)) for arn in self._executions.unfinished(name)
        ]
        return DeletedModel(model, endpoint, status, running)

    def _endpoint_status(self, endpoint: str) -> str:
        try:
            return self._sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"]
        except self._sagemaker.exceptions.ClientError as error:
            if not is_absent(error):
                raise
            return ""

    def _last_success(self) -> str | None:
        state = self._executions.read_json(f"s3://{self._environment.bucket}/{STATE_KEY}")
        return None if state is None else str(state["commit"])

    def _record_success(self, commit: str) -> None:
        body = {"commit": commit, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        self._s3.put_object(
            Bucket=self._environment.bucket,
            Key=STATE_KEY,
            Body=(json.dumps(body) + "\n").encode(),
            ContentType="application/json",
        )


@contextmanager
def _collect_failures(delivery: Delivery, model: str) -> Iterator[None]:
    """Keep what goes wrong for one model, so that the others go on."""
    try:
        yield
    except failures.USER_ERRORS as error:
        problems, code = failures.describe(error)
    else:
        return
    delivery.failed.setdefault(model, []).extend(problems)
    delivery.exit_code = max(delivery.exit_code, code)


def _links(release: Release, execution: str) -> dict[str, str]:
    """Where the console shows what this release writes, while it runs and afterwards."""
    region, bucket = release.environment.region, release.environment.bucket
    console = f"https://{region}.console.aws.amazon.com"
    prefix = f"{release.evaluations_prefix.removeprefix(f's3://{bucket}/')}/{execution.rsplit('/', 1)[-1]}/"
    return {
        "report": f"{console}/s3/buckets/{bucket}?region={region}&prefix={prefix}",
        "logs": f"{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/$252Faws$252Fsagemaker$252FProcessingJobs",
        "dashboard": f"{console}/cloudwatch/home?region={region}#dashboards/dashboard/release",
    }


def _text(delivery: Delivery, env: str, *, dry_run: bool) -> str:
    lines = [f"{delivery.commit[:12]}, what changed since {delivery.since[:12]}:"]
    for one in delivery.started:
        lines.append(f"{one.model}: {'started' if one.is_new else 'was started already'}: {one.execution}")
        lines.append(f"  follow     python -m pipelines.run follow {one.model} --env {env}")
        lines += [f"  {what:<10} {link}" for what, link in one.links.items()]
    lines += [f"{model}: nothing is started: {why}" for model, why in delivery.skipped.items()]
    for gone in delivery.deleted:
        lines += _deleted_text(gone, env)
    if not (delivery.started or delivery.skipped or delivery.deleted or delivery.failed):
        lines.append("no model file changed; nothing is started")
        if delivery.is_first:
            lines.append(
                "nothing was delivered before, so only this commit counted: what is there already is released by "
                f"python -m pipelines.run MODEL --env {env}, or by the next change of its file"
            )
    if delivery.exit_code:
        lines.append("not recorded as a success: the next run begins at the same commit, and starts nothing twice")
    elif not dry_run:
        lines.append(f"recorded as the last success: {delivery.commit}")
    return "\n".join(lines)


def _deleted_text(gone: DeletedModel, env: str) -> list[str]:
    lines = [f"{gone.model}: its file was deleted; nothing is started, and nothing is taken down"]
    if gone.status:
        lines.append(
            f"  production: the endpoint {gone.endpoint} ({gone.status}), which costs what it costs until it is taken out of service: "
            f"{command(env, 'retire', gone.model, '--comment', 'WHY')}"
        )
    lines += [
        f"  still running: {arn}; stop it: aws sagemaker stop-pipeline-execution --pipeline-execution-arn {arn}"
        for arn in gone.executions
    ]
    return lines if len(lines) > 1 else [f"{lines[0]}: nothing of it runs"]
