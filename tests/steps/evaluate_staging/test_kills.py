"""However an evaluation ends, wherever it is just then: its endpoint, endpoint config and model are gone at once where the step can do
it, and after the reaper's next pass where it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.steps.evaluate_staging.sabotage import PHASES, Act, Case
from tests.support.forked import start_module
from tests.support.waiting import WHOLE_SYSTEM_S
from tests.support.worlds.evaluation import EvaluationWorld, Version, closed_loop, evaluation_world

FAILING = {"Version": "2020-12-01", "Steps": [{"Name": "Failed", "Type": "Fail", "Arguments": {"ErrorMessage": "as told"}}]}
ROLE = "arn:aws:iam::123456789012:role/release-pipeline"
DELETION = {"deletion", "endpoint deleted"}
AFTER_DELETION = {"scoring", "report", "publishing"}
SHORT = {
    "client_processes": 1,
    "load_profiles": {"short": closed_loop(warmup_s=1.2, duration_s=1.2, concurrency=2)},
    "prompt_checks": [{"prompt": "a", "expect": "b"}],
}


@dataclass
class Ended:
    """One start of the step that was ended."""

    phase: str
    act: Act
    execution: str
    log: Path
    exit_code: int = 0

    @property
    def suffix(self) -> str:
        """With which all its resources' names end."""
        return self.execution[-8:].lower()


@dataclass
class Sabotage:
    """Starts of one version's evaluation, each for an execution of its own that is over for SageMaker: as after a kill."""

    world: EvaluationWorld
    version: Version

    def run(self, cases: list[tuple[str, Act]]) -> list[Ended]:
        done = [Ended(phase, act, self._execution(), self.world.folder / f"{phase}-{act}.log") for phase, act in cases]
        cases_file, codes_file = self.world.folder / "cases.json", self.world.folder / "codes.json"
        cases_file.write_text(json.dumps([asdict(Case(one.phase, one.act, self._arguments(one), str(one.log))) for one in done]))
        sabotage = start_module(
            "tests.steps.evaluate_staging.sabotage",
            [str(cases_file), str(codes_file)],
            self.world.environment,
            log := self.world.folder / "sabotage.log",
            without=("great_expectations",),
        )
        assert sabotage.wait(WHOLE_SYSTEM_S) == 0, log.read_text()
        for one, code in zip(done, json.loads(codes_file.read_text()), strict=True):
            one.exit_code = code
        return done

    def _execution(self) -> str:
        started = self.world.client("sagemaker").start_pipeline_execution(PipelineName="release-dead")
        return str(started["PipelineExecutionArn"].rsplit("/", 1)[1])

    def _arguments(self, one: Ended) -> list[str]:
        output = self.world.folder / one.execution
        return [
            *("--release", str(self.version.file), "--model-package", self.version.arn),
            *("--execution", one.execution, "--output", str(output)),
        ]


@pytest.fixture(scope="module")
def sabotage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sabotage]:
    with evaluation_world(tmp_path_factory.mktemp("kills")) as made:
        made.client("sagemaker").create_pipeline(
            PipelineName="release-dead", PipelineDefinition=json.dumps(FAILING), RoleArn=ROLE, ClientRequestToken="t" * 32
        )
        yield Sabotage(made, made.version(SHORT, name="dead"))


def left(sabotage: Sabotage, one: Ended) -> list[str]:
    return [name for name in sabotage.world.left() if name.endswith(one.suffix)]


def leaves_something(phase: str, act: Act) -> bool:
    """Whether the reaper is needed: nobody can clean up after SIGKILL, and not where cleaning up itself fails."""
    return (act == "SIGKILL" and phase not in AFTER_DELETION) or (act == "exception" and phase in DELETION)


def fails(phase: str) -> bool:
    """Whether an exception there ends the step: a page that cannot be drawn and an endpoint that cannot be deleted undo no verdict."""
    return phase != "report" and phase not in DELETION


def check(sabotage: Sabotage, cases: list[tuple[str, Act]]) -> None:
    """Every case ended as it should; what the step could not delete, the reaper does."""
    done = sabotage.run(cases)
    for one in done:
        what = f"{one.phase}, {one.act}: {one.log.read_text()}"
        assert one.exit_code == {"exception": int(fails(one.phase)), "SIGTERM": 143, "SIGKILL": -9}[one.act], what
        assert one.act != "exception" or "sabotaged" in what
        assert bool(left(sabotage, one)) == leaves_something(one.phase, one.act), f"{left(sabotage, one)}: {what}"
    said = sabotage.world.reap()
    assert said.returncode == 0, said.stderr
    for one in done:
        assert left(sabotage, one) == [], f"{one.phase}, {one.act}: {said.stdout}"
        assert (f"{one.suffix}: deleted; the execution that made it is Failed" in said.stdout) == leaves_something(
            one.phase, one.act
        ), said.stdout


TELLING: list[tuple[str, Act]] = [
    ("between model and endpoint", "SIGTERM"),
    ("endpoint created", "SIGTERM"),
    ("endpoint created", "SIGKILL"),
    ("prompt_checks", "exception"),
    ("load", "SIGTERM"),
    ("load", "SIGKILL"),
    ("load", "exception"),
    ("deletion", "exception"),
    ("endpoint deleted", "SIGTERM"),
]


@pytest.mark.timeout(WHOLE_SYSTEM_S)
def test_nothing_is_left_whatever_ends_it(sabotage: Sabotage) -> None:
    check(sabotage, TELLING)


@pytest.mark.soak
@pytest.mark.parametrize("act", ["exception", "SIGTERM", "SIGKILL"])
def test_nothing_is_left_whatever_ends_it_wherever(sabotage: Sabotage, act: Act) -> None:
    check(sabotage, [(phase, act) for phase in PHASES])
