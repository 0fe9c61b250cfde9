"""Several instances put one load on: together, each its share, and no verdict when one of them is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from config.errors import ConfigError
from config.loader import load_model
from delivery.aws import s3
from delivery.job import frame
from delivery.job.host_registry import JobHosts
from loadtest.generator.arrivals import PrefixBlocks, ScheduledRequest
from loadtest.generator.load import Load
from loadtest.lengths import HistogramLengths, NormalLengths, PercentileLengths
from loadtest.measurement.measurement import Measurement
from loadtest.measurement.request_record import RequestRecord
from loadtest.measurement.worker_result import WorkerResult
from loadtest.transports.openai import OpenAITransport
from pipelines.definitions.requests import processing_job
from steps.evaluate_staging.coordination import host as coordination
from steps.evaluate_staging.coordination.host import Timing
from steps.evaluate_staging.coordination.records import pack, unpack
from steps.evaluate_staging.coordination.store import CoordinationStore, LoadOrder
from tests.loadtest.test_measurement import MS, answer, result_of
from tests.support.fake_aws.s3 import FakeS3
from tests.support.forked import CONTEXT
from tests.support.simulated_engine import simulated
from tests.support.waiting import WHOLE_SYSTEM_S, wait_until
from tests.support.worlds.evaluation import BUCKET, ROOT, EvaluationWorld, Version, closed_loop, evaluation_world

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

QUICK = Timing(heartbeat_s=0.2, host_silence_s=6, host_start_s=60, look_s=0.05, check_s=0.2, lead_s=1.2)
NAMES = ("algo-1", "algo-2")
STEPS_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/release-steps:local"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvaluationWorld]:
    steps = {
        "match": "*/release-steps:local",
        "command": [sys.executable],
        "environment": {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        "working_directory": str(ROOT),
    }
    with evaluation_world(tmp_path_factory.mktemp("hosts"), steps) as made:
        yield made


def test_requests_come_back_from_another_host_as_they_were() -> None:
    failed = RequestRecord(5 * MS, 6 * MS, ended_ns=9 * MS, error="timeout", message="no complete answer within 1 s")
    results = [answer(1), answer(2, gaps_ms=()), failed]
    their_clock, ours = 1_000 * MS, 7_000 * MS
    shifted = unpack(pack([moved(result, their_clock) for result in results], their_clock), ours)
    assert shifted == [moved(result, ours) for result in results]
    assert unpack(pack([], 0), 0) == []


def test_all_that_a_request_is_comes_back_from_another_host() -> None:
    values: dict[str, Any] = {
        "int": 1234,
        "str": "said",
        "bool": True,
        "int | None": 77,
        "MutableSequence[int]": array("q", [3, 4]),
    }
    whole = RequestRecord(**{one.name: values[str(one.type)] for one in fields(RequestRecord)})
    assert unpack(pack([whole], 0), 0) == [whole]


def test_all_that_a_load_is_comes_to_another_host(tmp_path: Path) -> None:
    """Where a member is new, a value here that is not its default shows that hosts are told of it."""
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "prompts.jsonl").write_text("")
    schedule = (ScheduledRequest(1.5, 7, 8, PrefixBlocks((5, 6), 16, 1)), ScheduledRequest(2.5, 9, 10), ScheduledRequest(3))
    files: dict[str, Any] = {"tokenizer_file": tmp_path / "tokenizer.json", "prompts_file": tmp_path / "prompts.jsonl"}
    values: dict[str, Any] = {
        "float": 0.25,
        "int": 12,
        "bool": True,
        "str": "seed",
        "int | Distribution": PercentileLengths(percentiles={50: 256, 99.9: 1024}),
        "Mapping[str, Any]": {"top_p": 0.9, "tools": [{"type": "function"}]},
    }
    plain = {one.name: values[str(one.type)] for one in fields(Load) if str(one.type) in values}
    load = Load(**{**plain, **files, "transport": OpenAITransport("http://127.0.0.1:1"), "schedule": schedule})
    store = CoordinationStore(FakeS3().client(lambda *call: call[-1]()), s3.S3Uri.parse("s3://bucket/job/"))
    order = LoadOrder.model_validate_json(store.put_load_files(load).model_dump_json())
    told = store.read_load(order, tmp_path)
    assert [file.read_bytes() for file in (told.tokenizer_file, told.prompts_file) if file] == [b"{}", b""]
    assert replace(told, **files) == load
    normal, steps = NormalLengths(mean=9, stddev=1.5, max=12), HistogramLengths(histogram={128: 5, 512: 3})
    other = replace(load, prompt_tokens=normal, output_tokens=steps)
    order = LoadOrder.model_validate_json(store.put_load_files(other).model_dump_json())
    assert replace(store.read_load(order, tmp_path), **files) == other


def moved(result: RequestRecord, by_ns: int) -> RequestRecord:
    """The same on a clock that is so far ahead."""
    return replace(
        result,
        intended_ns=result.intended_ns + by_ns,
        sent_ns=result.sent_ns + by_ns,
        ended_ns=result.ended_ns + by_ns,
        token_ns=array("q", [moment + by_ns for moment in result.token_ns]),
    )


def test_a_percentile_is_that_of_all_hosts_samples_not_the_mean_of_theirs() -> None:
    fast = WorkerResult([answer(second * 10 + 1, ttft_ms=20) for second in range(95)])
    slow = WorkerResult([answer(second * 10 + 2, ttft_ms=900) for second in range(5)])
    both = Measurement.of((0, 60), 0, [fast, slow]).metrics({})
    alone = [Measurement.of((0, 60), 0, [one]).metrics({})["ttft_p90_ms"] for one in (fast, slow)]
    assert alone == pytest.approx([20, 900], rel=0.01)
    assert both["ttft_p90_ms"] == pytest.approx(20, rel=0.01), "of 100 requests 95 took 20 ms; the mean of the two would be 460"
    assert both["ttft_p99_ms"] == pytest.approx(900, rel=0.01)


def follow(release: Path, execution: str, environment: dict[str, str]) -> None:
    """What the second host's process does."""
    os.environ.update(environment)
    with coordination.join(frame.read_release(release), execution, JobHosts(NAMES, NAMES[1]), "job", QUICK) as joined:
        joined.follow(1)


@contextmanager
def second_host(version: Version, execution: str, environment: dict[str, str]) -> Iterator[Any]:
    process = CONTEXT.Process(target=follow, args=(version.file, execution, environment))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


@contextmanager
def first_host(version: Version, execution: str) -> Iterator[coordination.Host]:
    with coordination.join(version.release, execution, JobHosts(NAMES, NAMES[0]), "job", QUICK) as joined:
        yield joined


@pytest.fixture
def version(here: EvaluationWorld, monkeypatch: pytest.MonkeyPatch) -> Version:
    for name, value in here.server.environment().items():
        monkeypatch.setenv(name, value)
    return here.version({})


def test_two_hosts_keep_one_schedule_and_a_dead_one_leaves_no_verdict(
    here: EvaluationWorld, version: Version, tmp_path: Path
) -> None:
    execution = uuid.uuid4().hex[:8]
    schedule = tuple(ScheduledRequest(0.1 + number * 0.02) for number in range(50))
    with (
        simulated(tmp_path, "--sim-ttft-ms", "20", "--sim-itl-ms", "5") as url,
        second_host(version, execution, here.environment) as other,
        first_host(version, execution) as joined,
        joined.fleet(1) as fleet,
    ):
        transport = OpenAITransport(url)
        measured = fleet.measure(Load(transport, 20, 16, 4, 0, 1.2, schedule=schedule))
        assert (measured.hosts, measured.invalid_reason, measured.errors) == (2, "", {})
        due_s = sorted((result.intended_ns - measured.time.begin_ns) / 1e9 for result in measured.counted)
        assert due_s == pytest.approx([due.at_s for due in schedule], abs=0.02), (
            "all of it once, at its time on either host's clock"
        )
        health = measured.client(10_000)
        assert (health.hosts, health.processes) == (2, 2)

        closed = fleet.measure(Load(transport, 20, 16, 4, 0, 1.5, concurrency=3))
        assert closed.errors == {}
        spans = [(result.intended_ns, result.ended_ns) for result in closed.results]
        at_once = [sum(begin <= moment < end for begin, end in spans) for moment, _ in spans]
        assert max(at_once) == 3, "two clients on the first host and one on the second"

        long = Load(transport, 20, 16, 4, 0, 1.5, concurrency=4)
        killed = fleet.measure(long, kill_when_told(other))
        assert "host algo-2" in killed.invalid_reason
        after = fleet.measure(long)
        assert (after.invalid_reason, after.results) == (killed.invalid_reason, []), "no load is put on any more"
        assert "algo-2" in result_of(killed).client.bottleneck, "which is no verdict but `invalid`"


def kill_when_told(process: Any) -> Callable[[str], None]:
    return lambda _: process.kill()


def request(here: EvaluationWorld, version: Version, execution: str) -> dict[str, Any]:
    """The job's request, as the release pipeline makes it."""
    uri = f"s3://{BUCKET}/releases/{execution}.json"
    here.client("s3").put_object(Bucket=BUCKET, Key=f"releases/{execution}.json", Body=version.file.read_bytes())
    made = processing_job(
        version.release.environment,
        step="evaluate_staging",
        role="arn:aws:iam::123456789012:role/release-evaluate",
        image=STEPS_IMAGE,
        instance_type="ml.m5.xlarge",
        instance_count=version.release.model.evaluation.hosts,
        arguments=["--release", f"/opt/ml/processing/input/release/{execution}.json", *named(version, execution)],
        inputs={"release": uri},
        output=f"{version.release.evaluations_prefix}/{execution}",
        max_runtime_s=120,
        tags={},
    )
    return {"ProcessingJobName": f"evaluate-{execution}", **made}


def named(version: Version, execution: str) -> list[str]:
    return ["--model-package", version.arn, "--execution", execution]


def ended(here: EvaluationWorld, name: str) -> dict[str, Any]:
    sagemaker = here.client("sagemaker")

    def at_its_end() -> dict[str, Any] | None:
        described: dict[str, Any] = sagemaker.describe_processing_job(ProcessingJobName=name)
        return None if described["ProcessingJobStatus"] in ("InProgress", "Stopping") else described

    described = wait_until(at_its_end, f"{name} ends")
    assert described is not None
    return described


def test_a_whole_evaluation_on_two_instances(here: EvaluationWorld) -> None:
    profiles = {client: closed_loop(client=client, duration_s=2) for client in ("sagemaker", "openai")}
    made = here.version({"hosts": 2, "client_processes": 1, "load_profiles": profiles}, name="two")
    execution = uuid.uuid4().hex[:8]
    here.client("sagemaker").create_processing_job(**request(here, made, execution))
    described = ended(here, f"evaluate-{execution}")
    assert described["ProcessingJobStatus"] == "Completed", described
    assert described["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 2
    prefix = made.release.evaluations_prefix.removeprefix(f"s3://{BUCKET}/")
    stored = here.client("s3").get_object(Bucket=BUCKET, Key=f"{prefix}/{execution}/evaluation.json")["Body"].read()
    evaluation = json.loads(stored)
    assert evaluation["verdict"] == "passed", evaluation["summary"]
    for name in profiles:
        found = evaluation["profiles"][name]
        assert (found["client"]["hosts"], found["client"]["processes"], found["errors"]) == (2, 2, {})
    assert here.left() == []


@pytest.mark.soak
def test_a_dead_instance_makes_the_run_invalid_and_staging_goes(here: EvaluationWorld) -> None:
    made = here.version({"hosts": 2, "client_processes": 1, "load_profiles": {"short": closed_loop(duration_s=3)}}, name="dead")
    execution = uuid.uuid4().hex[:8]
    quick = ["--host-silence-s", "8"]
    first = here.start(made, *quick, "--resource-config", str(config(here.folder / "first", NAMES[0])), execution=execution)
    arguments = ["--release", str(made.file), *named(made, execution), "--output", "unused", *quick]
    resources = ["--resource-config", str(config(here.folder / "second", NAMES[1]))]
    second = subprocess.Popen(
        [sys.executable, "-m", "steps.evaluate_staging", *arguments, *resources],
        cwd=ROOT,
        env=here.environment,
        stdout=subprocess.DEVNULL,
    )
    first.wait_for("is InService")
    first.wait_for("(this host's, of 2)")
    second.kill()
    assert second.wait() == -9
    assert first.wait() == 0, first.text
    assert first.evaluation.verdict == "invalid"
    assert "algo-2" in first.evaluation.summary
    assert here.left() == []


def config(folder: Path, current: str) -> Path:
    """A resourceconfig.json as SageMaker makes it."""
    folder.mkdir()
    file = folder / "resourceconfig.json"
    file.write_text(json.dumps({"current_host": current, "hosts": list(NAMES)}))
    return file


def test_no_instances_at_all_are_refused_with_the_line(tmp_path: Path) -> None:
    model = (ROOT / "config/models/smollm2-135m.yaml").read_text().replace("evaluation:\n", "evaluation:\n  hosts: 0\n")
    file = tmp_path / "some.yaml"
    file.write_text(model)
    with pytest.raises(ConfigError, match=r"some\.yaml:\d+: evaluation\.hosts"):
        load_model(str(file))
