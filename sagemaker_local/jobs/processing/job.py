"""Processing jobs: inputs, N processes, outputs, and how they ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import NotImplementedHere, ValidationError
from sagemaker_local.jobs.cluster import DEFAULT_MAX_RUNTIME_S, ClusterJob, Container
from sagemaker_local.jobs.fetch import S3Source, bring
from sagemaker_local.jobs.table import JobEnding, JobKind, JobTable
from sagemaker_local.jobs.upload import S3Output, Uploader
from sagemaker_local.processes.layout import EXIT_MESSAGE_BYTES, chosen, instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sagemaker_local.jobs.cluster import ProcessExit
    from sagemaker_local.jobs.table import JobContext
    from sagemaker_local.processes.layout import InstanceLayout


LOG_GROUP = "/aws/sagemaker/ProcessingJobs"


class ProcessingJobs(JobTable):
    """The processing jobs of a server."""

    kind = JobKind("processing-job", "ProcessingJob", "ProcessingEndTime", "SageMaker Processing Job State Change")

    def check(self, request: dict[str, Any]) -> None:
        """Refuse DatasetDefinition, Pipe mode and FeatureStoreOutput, and inputs that go elsewhere than SageMaker allows."""
        if "ClusterConfig" not in request["ProcessingResources"]:
            raise ValidationError("ProcessingResources needs a ClusterConfig.")
        for item in request.get("ProcessingInputs") or []:
            path = (item.get("S3Input") or {}).get("LocalPath", "")
            if item.get("S3Input") and not item.get("AppManaged") and not f"{path}/".startswith("/opt/ml/processing/"):
                raise ValidationError(
                    f"LocalPath {path!r} of ProcessingInput {item['InputName']!r} must start with /opt/ml/processing."
                )
            if "DatasetDefinition" in item:
                raise NotImplementedHere(f"ProcessingInput {item['InputName']!r}: DatasetDefinition is not emulated.")
            if (item.get("S3Input") or {}).get("S3InputMode") == "Pipe":
                raise NotImplementedHere(f"ProcessingInput {item['InputName']!r}: S3InputMode Pipe is not emulated, use File.")
        for item in (request.get("ProcessingOutputConfig") or {}).get("Outputs") or []:
            if "FeatureStoreOutput" in item:
                raise NotImplementedHere(f"ProcessingOutput {item['OutputName']!r}: FeatureStoreOutput is not emulated.")

    def new_record(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request without its tags, and the default stopping condition."""
        kept = {name: value for name, value in request.items() if name != "Tags"}
        kept.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_S})
        resources = kept["ProcessingResources"]["ClusterConfig"]
        if resources.get("InstancePreferences"):
            instance_type, count = chosen(resources)
            selected = {"SelectedInstanceType": instance_type, "SelectedInstanceCount": count}
            kept["ProcessingResources"] = {"ClusterConfig": {**resources, **selected}}
        return kept

    def job(self, place: JobContext, request: dict[str, Any]) -> ProcessingJob:
        """Return a job for this CreateProcessingJob request."""
        return ProcessingJob(place, request)


class ProcessingJob(ClusterJob):
    """One processing job."""

    def failed(self, reason: str) -> JobEnding:
        """Failed for this reason."""
        return JobEnding.failed(reason)

    def run(self) -> JobEnding:
        """Run the job to its end."""
        instance_type, count = chosen(self.request["ProcessingResources"]["ClusterConfig"])
        layouts = instances(self.place.sandbox, count)
        hosts = [layout.host for layout in layouts]
        for layout in layouts:
            files = {
                "resourceconfig.json": layout.resources(hosts, instance_type),
                "processingjobconfig.json": {"ProcessingJobArn": self.place.arn, **self.request},
            }
            layout.write_configuration("/opt/ml/config", files)
        s3 = self.place.context.client("s3", self.place.region, self.place.role_arn)
        self._bring_inputs(s3, layouts)
        uploader = Uploader(s3, self._outputs(layouts))
        uploader.create_folders()
        launches = self._cluster.launches(self._container(instance_type), layouts)
        uploader.start_continuous()
        try:
            ended = self._cluster.run(launches, self._limit_s, lambda: self.place.update(ProcessingStartTime=time.time()))
        finally:
            uploader.finish()
        return self._ending(ended, layouts)

    def _bring_inputs(self, s3: Any, layouts: Sequence[InstanceLayout]) -> None:
        for item in self.request.get("ProcessingInputs") or []:
            given = item.get("S3Input")
            if given is not None and not item.get("AppManaged"):
                source = S3Source(
                    item["InputName"],
                    given["S3Uri"],
                    given.get("S3DataType", "S3Prefix"),
                    given.get("S3DataDistributionType", "FullyReplicated"),
                )
                bring(s3, source, [layout.local(given["LocalPath"]) for layout in layouts])

    def _outputs(self, layouts: Sequence[InstanceLayout]) -> list[S3Output]:
        items = (self.request.get("ProcessingOutputConfig") or {}).get("Outputs") or []
        targets = [item["S3Output"] for item in items if item.get("S3Output") and not item.get("AppManaged")]
        return [
            S3Output(
                target["S3Uri"],
                [layout.local(target["LocalPath"]) for layout in layouts],
                continuous=target["S3UploadMode"] == "Continuous",
            )
            for target in targets
        ]

    def _container(self, instance_type: str) -> Container:
        specification = self.request["AppSpecification"]
        return Container(
            kind="processing-job",
            name=self.request["ProcessingJobName"],
            image=specification["ImageUri"],
            instance_type=instance_type,
            log_group=LOG_GROUP,
            entrypoint=specification.get("ContainerEntrypoint"),
            arguments=specification.get("ContainerArguments") or (),
            environment={"PROCESSING_JOB_ARN": self.place.arn, **(self.request.get("Environment") or {})},
            role_arn=self.place.role_arn,
            arn=self.place.arn,
            isolated=bool((self.request.get("NetworkConfig") or {}).get("EnableNetworkIsolation")),
        )

    def _ending(self, ended: ProcessExit, layouts: Sequence[InstanceLayout]) -> JobEnding:
        try:
            message = "".join(layout.exit_message() for layout in layouts)
        except UnicodeDecodeError:
            return JobEnding.failed("ClientError: The file /opt/ml/output/message is not UTF-8 encoded.")
        message = message.encode()[:EXIT_MESSAGE_BYTES].decode(errors="ignore")
        changes = {"ExitMessage": message} if message else {}
        if self._cluster.stop_requested.is_set():
            return JobEnding("Stopped", changes)
        if ended.timed_out:
            reason = f"MaxRuntimeExceeded: the job ran longer than MaxRuntimeInSeconds ({self._limit_s})."
            return JobEnding("Stopped", {"FailureReason": reason, **changes})
        if ended.code == 0:
            return JobEnding("Completed", changes)
        hint = "See job logs for more information" if message else ""
        return JobEnding.failed(f"AlgorithmError: {hint}, exit code: {ended.code}", **changes)
