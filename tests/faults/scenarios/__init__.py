"""The scenarios, by name."""

from __future__ import annotations

from tests.faults.scenario import Scenario
from tests.faults.scenarios import evaluations, promotions

SCENARIOS: dict[str, type[Scenario]] = {scenario.name: scenario for scenario in (*promotions.SCENARIOS, *evaluations.SCENARIOS)}
