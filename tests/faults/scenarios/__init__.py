"""The scenarios, by name."""

from __future__ import annotations

from tests.faults.scenario import Scenario
from tests.faults.scenarios import decisions, evaluations, fetches, promotions

_ALL = (*fetches.SCENARIOS, *promotions.SCENARIOS, *decisions.SCENARIOS, *evaluations.SCENARIOS)
SCENARIOS: dict[str, type[Scenario]] = {scenario.name: scenario for scenario in _ALL}
