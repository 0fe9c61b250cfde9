"""The whole release on the real small model, as `make demo` runs it, and what a second one does to production."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import Stack
from tests.support.waiting import WHOLE_SYSTEM_S, wait_until

pytestmark = pytest.mark.timeout(WHOLE_SYSTEM_S)

MODEL = "smollm2-135m"
QUESTION = {"messages": [{"role": "user", "content": "Which city is the capital of France?"}], "max_tokens": 16, "temperature": 0}


class Asker(threading.Thread):
    """A client that asks production again and again, and keeps what went wrong."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.answered = 0
        self.failures: list[str] = []
        self._runtime = stack.client("sagemaker-runtime")
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.2):
            try:
                response = self._runtime.invoke_endpoint(
                    EndpointName=MODEL, ContentType="application/json", Body=json.dumps(QUESTION)
                )
                content = json.loads(response["Body"].read())["choices"][0]["message"]["content"]
                assert "Paris" in content, content
                self.answered += 1
            except Exception as error:  # noqa: BLE001  (every kind of failure is one that a customer would see)
                self.failures.append(repr(error))

    def stop(self) -> None:
        self._over.set()
        self.join()


@pytest.fixture(scope="module")
def first(stack: Stack) -> dict[str, Any]:
    return stack.release(MODEL)


def test_the_release_ends_in_a_production_endpoint_that_answers(stack: Stack, first: dict[str, Any]) -> None:
    assert first["status"] == "Succeeded"
    assert [*first["steps"]] == ["FetchWeights", "RegisterModel", "EvaluateStaging", "Gate", "Approved", "Promote"]
    assert first["evaluation"]["verdict"] == "passed"
    assert first["production"]["endpoint"] == MODEL
    answer = stack.run("ask", MODEL, "Which city is the capital of France?")
    assert answer.returncode == 0
    assert "Paris" in answer.stdout


def test_nothing_but_production_is_left(stack: Stack, first: dict[str, Any]) -> None:
    assert stack.endpoints() == [MODEL]


def test_the_registry_knows_what_was_fetched_and_what_was_measured(stack: Stack, first: dict[str, Any]) -> None:
    [version] = stack.versions(MODEL)
    assert version["ModelApprovalStatus"] == "Approved"
    facts = stack.client("sagemaker").describe_model_package(ModelPackageName=version["ModelPackageArn"])[
        "CustomerMetadataProperties"
    ]
    assert len(facts["weights:manifest-sha256"]) == 64
    assert facts["evaluation:verdict"] == "passed"
    assert facts["evaluation:report"] == first["evaluation"]["report"]


def test_the_report_comes_here_as_a_page_for_a_browser(stack: Stack, first: dict[str, Any], tmp_path: Path) -> None:
    brought = stack.run("report", MODEL, "--to", str(tmp_path / "here"))
    assert brought.returncode == 0, brought.stderr
    page = Path(brought.stdout.strip())
    assert page == tmp_path / "here" / "report.html"
    assert "chat" in page.read_text()
    assert json.loads((page.parent / "evaluation.json").read_text())["verdict"] == "passed"
    absent = stack.run("report", MODEL, "77", "--to", str(tmp_path / "nothing"))
    assert (absent.returncode, absent.stderr) == (2, f"error: {MODEL} has no version 77 in the Model Registry; it has 1\n")
    assert not (tmp_path / "nothing").exists()


def test_a_second_release_fetches_nothing_and_updates_production_without_a_failed_request(
    stack: Stack, first: dict[str, Any]
) -> None:
    asker = Asker(stack)
    asker.start()
    second = stack.release(MODEL)
    before = asker.answered  # the old instance is gone by now; the new one answers alone
    wait_until(lambda: asker.answered >= before + 3 or asker.failures, "three more answers")
    asker.stop()
    assert asker.failures == []
    assert asker.answered > 5
    assert [package["ModelPackageVersion"] for package in stack.versions(MODEL)] == [1, 2]
    assert second["steps"]["FetchWeights"]["detail"] == "unchanged since an earlier execution"
    assert second["production"]["model_package"].endswith("/2")
    tags = stack.client("sagemaker").list_tags(
        ResourceArn=stack.client("sagemaker").describe_endpoint(EndpointName=MODEL)["EndpointArn"]
    )
    assert {"Key": "release:version", "Value": "2"} in tags["Tags"]
