"""The same gauges behind a SageMaker endpoint, which hands on no metrics page: CloudWatch has them, and PromQL asks for them.

SageMaker's detailed observability scrapes `/metrics` of each container and publishes it to CloudWatch as OpenTelemetry metrics ("Amazon
SageMaker AI detailed observability for inference endpoints", SageMaker developer guide); those are not in `GetMetricData`, but at
CloudWatch's PromQL API ("QueryMetrics", CloudWatch user guide), with the permissions cloudwatch:GetMetricData and ListMetrics.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session, get_cert_path

from loadtest.errors import LoadTestError
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.models import ServerMetrics
from loadtest.server.exposition import Sample
from loadtest.server.gauges import GAUGES, NAMES, PageReader
from loadtest.server.series import summarize

SOURCE = "CloudWatch"
_TIMEOUT_S = (5.0, 10.0)
_SHOWN = 200
_RUNNING = GAUGES["running_requests"].names


@dataclass(frozen=True)
class CloudWatchMetrics:
    """The metrics of one endpoint."""

    url: str
    """CloudWatch's address: `https://monitoring.REGION.amazonaws.com`."""
    region: str
    endpoint: str
    """The endpoint's name."""
    every_s: float
    """How often its metrics are published (MetricPublishFrequencyInSeconds). Seconds."""

    def measured(self, measurement: Measurement) -> ServerMetrics:
        """Ask for what was published in the time of a measurement.

        Args:
            measurement: of a load on this endpoint, on this machine's clock.

        Returns:
            What was published. A point is the mean of the samples since the one before.

        Raises:
            LoadTestError: CloudWatch refused, or did not answer.
        """
        samples: list[tuple[int, dict[str, float]]] = []
        wall_s = time.time() - time.monotonic()
        for begin_ns, end_ns, _ in measurement.time.within(measurement.time.begin_ns, measurement.time.end_ns):
            pages, reader = self._pages(begin_ns / 1e9 + wall_s, end_ns / 1e9 + wall_s), PageReader()
            for at_s, page in sorted(pages.items()):
                middle_s = at_s - self.every_s / 2 - wall_s
                samples.append((int(middle_s * 1e9), reader.take(page)))
        note = (
            ""
            if samples
            else "it has none of this endpoint: MetricsConfig, or OTel enrichment of the account, is off, or the engine has no /metrics"
        )
        return summarize(samples, measurement, SOURCE, self.every_s, note)

    def _pages(self, begin_s: float, end_s: float) -> dict[float, list[Sample]]:
        """Return what the engine's page said, by the end of the time that it is of (epoch seconds)."""
        pages: dict[float, list[Sample]] = defaultdict(list)
        engine = next((name.partition(":")[0] for name in _RUNNING if self._add(pages, name, begin_s, end_s)), None)
        for name in sorted(NAMES - set(_RUNNING)) if engine else ():
            if name.startswith(f"{engine}:"):
                self._add(pages, name, begin_s, end_s)
        return pages

    def _add(self, pages: dict[float, list[Sample]], name: str, begin_s: float, end_s: float) -> bool:
        """Add a metric to the pages; False where there is none of that name."""
        found = False
        for labels, at_s, value in self._asked(name, begin_s, end_s):
            pages[at_s].append(Sample(name, labels, value))
            found = True
        return found

    def _asked(self, name: str, begin_s: float, end_s: float) -> Iterator[tuple[dict[str, str], float, float]]:
        """Yield labels, epoch seconds and value of each point of a metric."""
        series = " or ".join(self._selector(spelt) for spelt in (name, name.replace(":", "_")))
        parameters = {"query": series, "start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": f"{self.every_s:g}"}
        answer = self._post("/api/v1/query_range", parameters)
        try:
            for one in answer["data"]["result"]:
                labels = {str(label): str(text) for label, text in one["metric"].items()}
                for at_s, value in one["values"]:
                    yield labels, float(at_s), float(value)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise LoadTestError(f"CloudWatch's answer to a PromQL query has another shape: {error!r}") from error

    def _selector(self, name: str) -> str:
        """Return the query of one metric: a sample is shown once, at the end of the time in which it came, and never again.

        AWS's own pages spell the names of the engine's metrics with a colon ("OpenTelemetry metrics reference") and with an underscore
        ("Connect to your observability tool").
        """
        function = "last" if name.endswith("_total") else "avg"
        return f'{function}_over_time({{"{name}","aws.sagemaker.endpoint.name"="{self.endpoint}"}}[{self.every_s:g}s])'

    def _post(self, path: str, parameters: Mapping[str, str]) -> Any:
        session = botocore.session.get_session()
        credentials = session.get_credentials()
        if credentials is None:
            raise LoadTestError("CloudWatch cannot be asked: no AWS credentials were found")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        request = AWSRequest("POST", f"{self.url.rstrip('/')}{path}", data=urlencode(parameters), headers=headers)
        SigV4Auth(credentials.get_frozen_credentials(), "monitoring", self.region).add_auth(request)
        trusted = get_cert_path(session.get_config_variable("ca_bundle") or True)
        try:
            answer = URLLib3Session(verify=trusted, timeout=_TIMEOUT_S).send(request.prepare())  # type: ignore[arg-type]  # as botocore's own
            if answer.status_code != 200:
                raise LoadTestError(
                    f"CloudWatch refused a PromQL query with HTTP status {answer.status_code}: {answer.text[:_SHOWN]}"
                )
            return json.loads(answer.content)
        except (BotoCoreError, ValueError) as error:
            raise LoadTestError(f"CloudWatch did not answer a PromQL query: {error}") from error
