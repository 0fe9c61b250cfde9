"""Training jobs: channels in, N processes, model artifacts out.

The layout of the container is documented under "How Amazon SageMaker AI Provides Training Information" and "How Amazon
SageMaker AI Processes Training S3Output".
"""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import NotImplementedHere
from sagemaker_local.jobs.cluster import DEFAULT_MAX_RUNTIME_S, ClusterJob, Container
from sagemaker_local.jobs.fetch import S3Source, bring
from sagemaker_local.jobs.table import JobEnding, JobKind, JobTable
from sagemaker_local.jobs.upload import S3Output, Uploader
from sagemaker_local.processes.layout import chosen, instances

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sagemaker_local.jobs.cluster import ProcessExit
    from sagemaker_local.jobs.table import JobContext
    from sagemaker_local.processes.layout import InstanceLayout
    from sagemaker_local.processes.table import LaunchSpec

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_FAILURE_CHARACTERS = 1024
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Failed": "Training job failed",
}


class TrainingJobs(JobTable):
    """The training jobs of a server."""

    kind = JobKind("training-job", "TrainingJob", "TrainingEndTime", "SageMaker Training Job State Change")

    def check(self, request: dict[str, Any]) -> None:
        """Refuse Pipe mode, sources that are not S3, and algorithms by name."""
        for member in ("AlgorithmSpecification", "ResourceConfig"):
            if member not in request:
                raise NotImplementedHere(f"A training job without {member} (serverless training) is not emulated.")
        if request["ResourceConfig"].get("InstanceGroups"):
            raise NotImplementedHere("ResourceConfig.InstanceGroups (a heterogeneous cluster) is not emulated.")
        specification = request["AlgorithmSpecification"]
        if "TrainingImage" not in specification:
            raise NotImplementedHere("AlgorithmSpecification.AlgorithmName is not emulated: give a TrainingImage.")
        for channel in request.get("InputDataConfig") or []:
            name = channel["ChannelName"]
            mode = channel.get("InputMode", specification["TrainingInputMode"])
            if mode == "Pipe":
                raise NotImplementedHere(f"Channel {name!r}: InputMode Pipe is not emulated, use File or FastFile.")
            source = channel["DataSource"].get("S3DataSource")
            if source is None or source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
                raise NotImplementedHere(f"Channel {name!r}: only an S3Prefix or a ManifestFile is emulated as DataSource.")

    def new_record(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request without its tags, and the first secondary status."""
        kept = {name: value for name, value in request.items() if name != "Tags"}
        kept.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_S})
        return {**kept, "SecondaryStatus": "Starting", "SecondaryStatusTransitions": [_transition("Starting", time.time())]}

    def job(self, place: JobContext, request: dict[str, Any]) -> TrainingJob:
        """Return a job for this CreateTrainingJob request."""
        return TrainingJob(place, request)


@dataclass
class TrainingJob(ClusterJob):
    """One training job."""

    _transitions: list[dict[str, Any]] = field(default_factory=list)
    _started: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._transitions.append(_transition("Starting", time.time()))

    def failed(self, reason: str, changes: dict[str, Any] | None = None) -> JobEnding:
        """Failed for this reason; ``changes``: what its record gets besides."""
        return self._ended("Failed", "Failed", {"FailureReason": reason[:_FAILURE_CHARACTERS], **(changes or {})})

    def run(self) -> JobEnding:
        """Run the job to its end."""
        instance_type, count = chosen(self.request["ResourceConfig"])
        layouts = instances(self.place.sandbox, count)
        self._configure(layouts, instance_type)
        s3 = self.place.context.client("s3", self.place.region, self.place.role_arn)
        self._move_to("Downloading")
        self._bring_channels(s3, layouts)
        checkpoints = Uploader(s3, self._checkpoints(s3, layouts))
        checkpoints.create_folders()
        launches = self._cluster.launches(self._container(instance_type), layouts)
        self._move_to("Training", TrainingStartTime=time.time())
        checkpoints.start_continuous()
        try:
            ended = self._cluster.run(launches, self._limit_s, lambda: None)
        finally:
            checkpoints.finish()
        self._move_to("Uploading")
        artifacts = self._upload(s3, layouts[0])
        return self._ending(ended, layouts, artifacts, _metrics(self.request["AlgorithmSpecification"], launches))

    def _configure(self, layouts: Sequence[InstanceLayout], instance_type: str) -> None:
        hosts = [layout.host for layout in layouts]
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": channel.get("InputMode", self.request["AlgorithmSpecification"]["TrainingInputMode"]),
                "S3DistributionType": channel["DataSource"]["S3DataSource"].get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in self.request.get("InputDataConfig") or []
        }
        for layout in layouts:
            files = {
                "hyperparameters.json": self.request.get("HyperParameters") or {},
                "inputdataconfig.json": channels,
                "resourceconfig.json": layout.resources(hosts, instance_type),
            }
            layout.write_configuration("/opt/ml/input/config", files)
            for folder in ("/opt/ml/model", "/opt/ml/output/data", "/opt/ml/input/data"):
                layout.local(folder).mkdir(parents=True, exist_ok=True)

    def _bring_channels(self, s3: Any, layouts: Sequence[InstanceLayout]) -> None:
        for channel in self.request.get("InputDataConfig") or []:
            given = channel["DataSource"]["S3DataSource"]
            distribution = given.get("S3DataDistributionType", "FullyReplicated")
            source = S3Source(channel["ChannelName"], given["S3Uri"], given["S3DataType"], distribution)
            folders = [layout.local(f"/opt/ml/input/data/{channel['ChannelName']}") for layout in layouts]
            bring(s3, source, folders)
            if channel.get("CompressionType") == "Gzip":
                for folder in folders:
                    _decompress(folder)

    def _checkpoints(self, s3: Any, layouts: Sequence[InstanceLayout]) -> list[S3Output]:
        """Return the checkpoint folder: filled from S3 before, and kept in step with it while the job runs."""
        config = self.request.get("CheckpointConfig")
        if config is None:
            return []
        folders = [layout.local(config.get("LocalPath", "/opt/ml/checkpoints")) for layout in layouts]
        bring(s3, S3Source("checkpoints", config["S3Uri"]), folders, may_be_empty=True)  # the first run has none
        return [S3Output(config["S3Uri"], folders, continuous=True)]

    def _container(self, instance_type: str) -> Container:
        specification = self.request["AlgorithmSpecification"]
        return Container(
            kind="training-job",
            name=self.request["TrainingJobName"],
            image=specification["TrainingImage"],
            instance_type=instance_type,
            log_group=LOG_GROUP,
            entrypoint=specification.get("ContainerEntrypoint"),
            command_arguments=("train",),  # what SageMaker runs an image with
            arguments=specification.get("ContainerArguments") or (),
            environment={
                "TRAINING_JOB_NAME": self.request["TrainingJobName"],
                "TRAINING_JOB_ARN": self.place.arn,
                # Where sagemaker-training, the toolkit inside AWS's framework images, looks instead of /opt/ml.
                "SAGEMAKER_BASE_DIR": "/opt/ml",
                **(self.request.get("Environment") or {}),
            },
            role_arn=self.place.role_arn,
            arn=self.place.arn,
            isolated=bool(self.request.get("EnableNetworkIsolation")),
        )

    def _upload(self, s3: Any, layout: InstanceLayout) -> str:
        """Send the model and the output data; returns the address of the model artifacts."""
        config = self.request["OutputDataConfig"]
        base = f"{config['S3OutputPath'].rstrip('/')}/{self.request['TrainingJobName']}/output"
        model, data = layout.local("/opt/ml/model"), layout.local("/opt/ml/output/data")
        if config.get("CompressionType") == "NONE":
            Uploader(s3, [S3Output(f"{base}/model", [model]), S3Output(f"{base}/data", [data])]).finish()
            return f"{base}/model/"
        parcels = layout.root / "parcels"
        parcels.mkdir()
        _pack(model, parcels / "model.tar.gz")
        if any(data.iterdir()):
            _pack(data, parcels / "output.tar.gz")
        Uploader(s3, [S3Output(base, [parcels])]).finish()
        return f"{base}/model.tar.gz"

    def _ending(
        self, ended: ProcessExit, layouts: Sequence[InstanceLayout], artifacts: str, metrics: list[dict[str, Any]]
    ) -> JobEnding:
        changes: dict[str, Any] = {"ModelArtifacts": {"S3ModelArtifacts": artifacts}}
        if metrics:
            changes["FinalMetricDataList"] = metrics
        if self._cluster.stop_requested.is_set():
            return self._ended("Stopped", "Stopped", changes)
        if ended.timed_out:
            return self._ended("Stopped", "MaxRuntimeExceeded", changes)
        if ended.code != 0:
            return self.failed(f"AlgorithmError: {_failure(layouts)}, exit code: {ended.code}", changes)
        return self._ended("Completed", "Completed", changes)

    def _ended(self, status: str, secondary: str, changes: dict[str, Any]) -> JobEnding:
        now = time.time()
        self._note(secondary, now)
        seconds = max(1, round(now - self._started))
        times = {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        self._transitions[-1]["EndTime"] = now
        return JobEnding(
            status, {**changes, **times, "SecondaryStatus": secondary, "SecondaryStatusTransitions": self._transitions}
        )

    def _move_to(self, secondary: str, **changes: Any) -> None:
        self._note(secondary, time.time())
        self.place.update(SecondaryStatus=secondary, SecondaryStatusTransitions=list(self._transitions), **changes)

    def _note(self, secondary: str, now: float) -> None:
        self._transitions[-1]["EndTime"] = now
        self._transitions.append(_transition(secondary, now))


def _transition(secondary: str, now: float) -> dict[str, Any]:
    return {"Status": secondary, "StartTime": now, "StatusMessage": _MESSAGES[secondary]}


def _failure(layouts: Sequence[InstanceLayout]) -> str:
    """Return what the algorithm wrote to ``/opt/ml/output/failure``, on the first instance that did."""
    for layout in layouts:
        path = layout.local("/opt/ml/output/failure")
        if path.is_file():
            return path.read_text(errors="replace")[: _FAILURE_CHARACTERS - 40]
    return ""


def _decompress(folder: Path) -> None:
    for path in list(folder.rglob("*.gz")):
        with gzip.open(path) as packed, path.with_suffix("").open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        path.unlink()


def _pack(folder: Path, target: Path) -> None:
    with tarfile.open(target, "w:gz", compresslevel=1) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name)


def _metrics(specification: dict[str, Any], launches: Sequence[LaunchSpec]) -> list[dict[str, Any]]:
    """Return the last value of every metric that MetricDefinitions finds in the first instance's log."""
    found: list[dict[str, Any]] = []
    text = launches[0].log_path.read_text(errors="replace") if launches[0].log_path.exists() else ""
    for definition in specification.get("MetricDefinitions") or []:
        values = re.findall(definition["Regex"], text)
        if values:
            last = values[-1] if isinstance(values[-1], str) else values[-1][0]
            found.append({"MetricName": definition["Name"], "Value": float(last), "Timestamp": time.time()})
    return found
