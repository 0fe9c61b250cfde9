"""A slice of `make faults`, and that it sees what is lost."""

from __future__ import annotations

from unittest import mock

import pytest

from steps.promote import record
from tests.faults import plan, report, runner
from tests.faults.plan import Case
from tests.faults.runner import Result
from tests.faults.scenarios import SCENARIOS

_SLICE = 4
MENDED = (
    "create/promote/cloudwatch:PutMetricAlarm/killed/1/other",  # its alarm stayed for ever
    "create/promote/s3:PutObject:event/denied/1+/other",
    "update/promote/sagemaker:AddTags/denied/1+/other",  # version 2 served, the ledger had version 1
    "update/promote/s3:GetObject:lease/disk-full/1/same",  # a traceback about the message that could not be written
    "update-crash/promote/logs:GetLogEvents/cut-off/1/other",  # a traceback in the place of why the version did not start
    "update/promote/sagemaker:InvokeEndpoint/endpoint-deleted/1/same",  # success
    "update/promote/sagemaker:InvokeEndpoint/endpoint-set-back/1/other",  # success, and what production served was deleted
    "create-bad/promote/application-autoscaling:DescribeScalableTargets/denied/1+/other",  # the wrong version went on serving
    "update-bad/promote/sagemaker:DescribeEndpointConfig/denied/4+/same",  # the wrong version went on serving
    "retire/promote/application-autoscaling:DeregisterScalableTarget/hangs/1/other",  # a lost answer was an error
    "evaluate/evaluate/sagemaker:InvokeEndpoint/lost-answer/1+/other",  # a lost connection was the model's wrong answer
    "evaluate/evaluate/cloudwatch:PutMetricData/denied/1+/same",
    "evaluate/evaluate/sagemaker:DeleteEndpoint/denied/1+/other",
)
"""Losses that `make faults` found once."""


def examined(case: Case) -> list[str]:
    """What is lost in one case."""
    with runner.prepared(case.scenario) as scenario:
        return runner.examine(scenario, case)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_slice_is_survived(name: str) -> None:
    found = [Result(case, examined(case)) for case in plan.sample(runner.planned(name), _SLICE, seed=12)]
    assert not report.losses(found)


@pytest.mark.parametrize("case", MENDED)
def test_what_was_lost_once_is_survived(case: str) -> None:
    assert not report.losses([Result(found := Case.parse(case), examined(found))])


def test_a_change_that_the_ledger_does_not_have_is_lost() -> None:
    case = Case.parse("update/promote/cloudwatch:DescribeAlarms/reset/1/same")
    assert not examined(case)
    with mock.patch.object(record, "_write_event"):
        problems = examined(case)
    assert problems[0].startswith(
        "after it: production and the ledger differ: the endpoint is InService with production-chat-v2-"
    )


def test_a_version_that_is_left_to_a_wrong_one_is_lost() -> None:
    case = Case.parse("update-bad/promote/sagemaker:UpdateEndpoint/reset/1/other")
    with mock.patch("steps.promote.endpoint.production_endpoint.ProductionEndpoint.smoke_test", return_value=[]):
        problems = examined(case)
    assert "after it: production should serve 1: the endpoint is InService with production-chat-v2-on-first" in problems[0]


def test_a_loss_is_printed_with_the_command_that_shows_it_again() -> None:
    case = Case.parse("update/promote/s3:PutObject:event/denied/2+/other")
    [text] = report.losses([Result(case, ["it was lost"])])
    assert text.splitlines() == [
        "LOST update/promote/s3:PutObject:event/denied/2+/other",
        "     it was lost",
        "     python -m tests.faults update/promote/s3:PutObject:event/denied/2+/other",
    ]
    survived = Result(Case.parse("update/promote/s3:PutObject:event/denied/1/same"), [])
    head, *lines = report.table([Result(case, ["it was lost"]), survived]).splitlines()
    assert head.split() == ["calls", "denied", "all"]
    assert [line.split() for line in lines] == [["update", "1", "1/2", "1/2"], ["all", "1", "1/2", "1/2"]]


def test_a_case_that_is_not_made_any_more_is_no_survivor() -> None:
    assert "was never made" in examined(Case.parse("update/promote/s3:PutObject:event/denied/99/same"))[0]
