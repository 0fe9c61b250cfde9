"""Transform jobs: every object of the input goes through the model's container, and its answers become ``OBJECT.out``."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, ContainerError, NotImplementedHere, ValidationError
from sagemaker_local.jobs.fetch import S3Source, bring
from sagemaker_local.jobs.table import JobEnding, JobKind, JobTable
from sagemaker_local.jobs.transform.container import ModelContainer
from sagemaker_local.jobs.transform.split import assembled, bodies
from sagemaker_local.jobs.upload import S3Output, Uploader
from sagemaker_local.processes.layout import InstanceLayout
from sagemaker_local.state.records import Records

if TYPE_CHECKING:
    from sagemaker_local.jobs.table import JobContext

_MAX_PAYLOAD_MB = 6
_INVOCATION_TIMEOUT_S = 600.0
_INVOCATION_RETRIES = 3


class TransformJobs(JobTable):
    """The transform jobs of a server."""

    kind = JobKind("transform-job", "TransformJob", "TransformEndTime", "SageMaker Transform Job State Change")

    def check(self, request: dict[str, Any]) -> None:
        """Refuse compressed and record files, joins and filters; and a model that does not exist."""
        given = request["TransformInput"]
        if given.get("CompressionType", "None") != "None":
            raise NotImplementedHere(f"TransformInput.CompressionType {given['CompressionType']} is not emulated.")
        if given.get("SplitType", "None") not in ("None", "Line"):
            raise NotImplementedHere(f"TransformInput.SplitType {given['SplitType']} is not emulated, only None and Line.")
        for member, value in (request.get("DataProcessing") or {}).items():
            if value not in ("$", "None"):
                raise NotImplementedHere(f"DataProcessing.{member} is not emulated.")

    def new_record(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request without its tags."""
        return {name: value for name, value in request.items() if name != "Tags"}

    def role_of(self, region: str, request: dict[str, Any]) -> str | None:
        """Return the model's execution role; None when there is no such model, which ``job`` refuses."""
        return (Records(self.context.store, "model").get(region, request["ModelName"]) or {}).get("ExecutionRoleArn")

    def job(self, place: JobContext, request: dict[str, Any]) -> TransformJob:
        """Return a job for this CreateTransformJob request.

        Raises:
            ValidationError: there is no such model.
        """
        try:
            place.context.invoke(place.region, "DescribeModel", {"ModelName": request["ModelName"]})
        except AwsError as error:
            raise ValidationError(f'Could not find model "{request["ModelName"]}".') from error
        return TransformJob(place, request)


@dataclass
class TransformJob:
    """One transform job."""

    place: JobContext
    request: dict[str, Any]
    _stop_requested: threading.Event = field(default_factory=threading.Event)
    _container: ModelContainer | None = None

    def failed(self, reason: str) -> JobEnding:
        """Failed for this reason, unless it failed because it was being stopped."""
        return JobEnding("Stopped") if self._stop_requested.is_set() else JobEnding.failed(reason)

    def stop(self) -> None:
        """End the container; requests under way are given up."""
        self._stop_requested.set()
        if self._container is not None:
            threading.Thread(target=self._container.interrupt, name="stop transform", daemon=True).start()

    def run(self) -> JobEnding:
        """Run the job to its end."""
        s3 = self.place.context.client("s3", self.place.region, self.place.role_arn)
        source_folder, target_folder = self.place.sandbox / "in", self.place.sandbox / "out"
        target_folder.mkdir(parents=True)
        given = self.request["TransformInput"]["DataSource"]["S3DataSource"]
        bring(s3, S3Source("TransformInput", given["S3Uri"], given["S3DataType"]), [source_folder])
        self._container = ModelContainer(
            self.place,
            InstanceLayout(self.place.sandbox / "algo-1", "algo-1"),
            self.request["TransformJobName"],
            self.request["ModelName"],
            self.request["TransformResources"]["InstanceType"],
            self._environment(),
        )
        self.place.update(TransformStartTime=time.time())
        with self._container as container, ThreadPoolExecutor(self.request.get("MaxConcurrentTransforms") or 1) as pool:
            for path in sorted(path for path in source_folder.rglob("*") if path.is_file()):
                relative = path.relative_to(source_folder)
                self._transform(path, target_folder / f"{relative}.out", container, pool)
        # Only now: when one object fails, the job fails and leaves nothing in S3.
        Uploader(s3, [S3Output(self.request["TransformOutput"]["S3OutputPath"], [target_folder])]).finish()
        return JobEnding("Completed")

    def _transform(self, source: Path, target: Path, container: ModelContainer, pool: ThreadPoolExecutor) -> None:
        """Send one object's records, at most MaxConcurrentTransforms at once, and write the answers in their order."""
        limit_bytes = (self.request.get("MaxPayloadInMB") or _MAX_PAYLOAD_MB) << 20
        split_type = self.request["TransformInput"].get("SplitType", "None")
        requests = bodies(source.read_bytes(), split_type, self.request.get("BatchStrategy", "MultiRecord"), limit_bytes)
        answers = list(pool.map(lambda body: self._invoke(container, body), requests))
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.writelines(assembled(answers, self.request["TransformOutput"].get("AssembleWith", "None")))

    def _invoke(self, container: ModelContainer, body: bytes) -> bytes:
        headers = {"Content-Type": self.request["TransformInput"].get("ContentType", "application/octet-stream")}
        if "Accept" in self.request["TransformOutput"]:
            headers["Accept"] = self.request["TransformOutput"]["Accept"]
        config = self.request.get("ModelClientConfig") or {}
        timeout_s = config.get("InvocationsTimeoutInSeconds") or _INVOCATION_TIMEOUT_S
        retries = config.get("InvocationsMaxRetries", _INVOCATION_RETRIES)
        for attempt in range(retries + 1):
            try:
                return container.invoke(body, headers, timeout_s)
            except ContainerError as error:
                if attempt == retries or str(error).startswith("ClientError") or self._stop_requested.is_set():
                    raise
        raise ContainerError("AlgorithmError: The model container did not answer.")

    def _environment(self) -> dict[str, str]:
        """Return what a container is told of the job, and the job's own variables."""
        return {
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_BATCH_STRATEGY": self.request.get("BatchStrategy", "MultiRecord"),
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(self.request.get("MaxConcurrentTransforms") or 1),
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(self.request.get("MaxPayloadInMB") or _MAX_PAYLOAD_MB),
            **(self.request.get("Environment") or {}),
        }
