"""rollback: one command, and production serves an earlier version again, whatever became of the packages."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest

from steps.promote.endpoint.production_endpoint import ProductionEndpoint
from tests.support.waiting import WHOLE_SYSTEM_S
from tests.support.worlds.registry import RegistryWorld, Version, registry_world

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

MODEL = "back"
QUESTION = {"messages": [{"role": "user", "content": "Which version are you?"}], "max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryWorld]:
    with registry_world(tmp_path_factory.mktemp("rollback")) as made:
        yield made


def version(world: RegistryWorld, number: int) -> Version:
    """A version that tells its number."""
    made = world.version(MODEL, settings={"answers": {"version": f"This is {number}."}})
    assert made.number == number
    return made


def answer(world: RegistryWorld) -> str:
    response = world.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=MODEL, ContentType="application/json", Body=json.dumps(QUESTION)
    )
    content: str = json.loads(response["Body"].read())["choices"][0]["message"]["content"]
    return content


@contextmanager
def asked_all_the_time(world: RegistryWorld) -> Iterator[list[str]]:
    """A client that asks again and again; what it yields are its failures."""
    failures: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.1):
            try:
                assert answer(world).startswith("This is")
            except Exception as error:  # noqa: BLE001  (every kind of failure is one that a customer would see)
                failures.append(repr(error))

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    yield failures
    over.set()
    asker.join()


@pytest.fixture(scope="module")
def versions(world: RegistryWorld) -> list[Version]:
    """Versions 1, 2 and 3, promoted one after the other."""
    made = [version(world, number) for number in (1, 2, 3)]
    for each in made:
        result = world.promote(each)
        assert result.returncode == 0, result.stdout
    return made


def test_one_command_returns_to_the_version_before_without_a_failed_request(
    world: RegistryWorld, versions: list[Version]
) -> None:
    with asked_all_the_time(world) as failures:
        result = world.run("rollback", MODEL, "--comment", "3 is slow")
    assert result.returncode == 0, result.stderr + result.stdout
    assert f"endpoint {MODEL} serves version 2 again" in result.stdout
    assert answer(world) == "This is 2."
    assert failures == []
    event = next(event for event in reversed(world.ledger(MODEL)) if event.kind == "rolled_back")
    assert (event.version, event.details["previous_version"], event.details["comment"]) == (2, 3, "3 is slow")
    assert event.by.startswith("arn:aws:sts:")
    # The version that was left is rejected: nothing promotes it again unless somebody approves it.
    assert [world.status(each) for each in versions] == ["Approved", "Approved", "Rejected"]


def test_the_next_one_goes_further_back_also_when_both_packages_were_deleted(
    world: RegistryWorld, versions: list[Version]
) -> None:
    for gone in (versions[0], versions[1]):
        world.client("sagemaker").delete_model_package(ModelPackageName=gone.arn)
    result = world.run("rollback", MODEL, "--json")
    assert result.returncode == 0, result.stderr + result.stdout
    assert json.loads(result.stdout)["to"] == 1
    assert "version 1 is gone from the Model Registry" in result.stderr
    assert answer(world) == "This is 1."


def test_what_there_is_nothing_to_return_to_is_said(world: RegistryWorld, versions: list[Version]) -> None:
    result = world.run("rollback", MODEL)
    assert result.returncode == 2
    assert "there is nothing to return to" in result.stderr
    result = world.run("rollback", MODEL, "--to", "9")
    assert result.returncode == 2
    assert "production never served version 9; it served 1, 2, 3" in result.stderr
    result = world.run("rollback", MODEL, "--to", "3")
    assert result.returncode == 2
    assert "version 3 was rejected since" in result.stderr
    assert answer(world) == "This is 1."


def test_a_version_whose_promotion_was_cut_off_is_left_for_the_one_before_it(world: RegistryWorld) -> None:
    """SageMaker goes on with an update when the job that asked for it is gone: what then serves is not in the ledger."""
    first, second = world.version("cut-off"), world.version("cut-off")
    assert world.promote(first).returncode == 0
    with mock.patch.object(ProductionEndpoint, "smoke_test", side_effect=SystemExit(137)):
        assert world.promote(second).returncode == 137
    result = world.run("rollback", "cut-off")
    assert result.returncode == 0, result.stderr + result.stdout
    assert "goes back from version 2 to 1" in result.stdout
    assert "the promotion of version 2 was ended before it was done" in result.stdout
    assert [event.kind for event in world.ledger("cut-off") if event.kind != "changing"] == [
        "promoted",
        "rolled_back",
        "rejected",
    ]
    assert [world.status(each) for each in (first, second)] == ["Approved", "Rejected"]


def test_a_bad_first_version_is_taken_out_of_service_and_a_new_one_takes_its_place(world: RegistryWorld) -> None:
    first = world.version("retired")
    assert world.promote(first).returncode == 0
    refused = world.run("rollback", "retired")
    assert refused.returncode == 2
    assert "there is nothing to return to; --to names one, and retire takes it out of service" in refused.stderr
    assert "retire retired --comment WHY" in world.run("reject", "retired", "1").stderr
    assert world.run("retire", "retired").returncode == 2, "without a comment"
    result = world.run("retire", "retired", "--comment", "it answers in rhymes")
    assert result.returncode == 0, result.stderr + result.stdout
    assert "deleted: the endpoint retired, its autoscaling and alarms" in result.stdout
    assert "kept: every version in the Model Registry" in result.stdout
    assert "endpoint retired is out of service, and version 1 is rejected" in result.stdout
    assert "retired" not in world.endpoints()
    assert world.status(first) == "Rejected"
    kinds = [event.kind for event in world.ledger("retired")]
    assert kinds == ["changing", "promoted", "changing", "retired", "rejected"]
    told = world.run("status", "retired").stdout
    assert "out of service since" in told
    assert "it answers in rhymes" in told
    assert "drift" not in told
    assert "it answers in rhymes" in world.run("history", "retired").stdout
    assert "was taken out of service at" in world.run("rollback", "retired").stderr
    again = world.run("retire", "retired", "--comment", "once more", "--json")
    assert again.returncode == 0, "run again, it finds nothing left to do"
    assert json.loads(again.stdout)["version"] == 1
    assert [event.kind for event in world.ledger("retired")] == kinds
    assert world.promote(world.version("retired")).returncode == 0
    assert "serves version 2" in world.run("status", "retired").stdout
