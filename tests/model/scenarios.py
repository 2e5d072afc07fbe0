"""All named scenarios. Those called after a hole (H) of the protocol contain its schedule."""

from __future__ import annotations

from tests.model import (
    scenes_broken,
    scenes_copying,
    scenes_deleting,
    scenes_holding,
    scenes_hooks,
    scenes_keys,
    scenes_steering,
    scenes_switching,
)
from tests.model.scenario import STORES

KEEPING = (
    *scenes_copying.SCENARIOS,
    *scenes_switching.SCENARIOS,
    *scenes_deleting.SCENARIOS,
    *scenes_steering.SCENARIOS,
    *scenes_keys.SCENARIOS,
    *scenes_holding.SCENARIOS,
    *scenes_hooks.SCENARIOS,
)
BREAKING = scenes_broken.SCENARIOS
ALL = (*KEEPING, *BREAKING)
BY_SCENARIO = {scenario.name: scenario for scenario in ALL}
ON_STORES = [(scenario.name, store) for scenario in ALL for store in STORES if store in scenario.stores]
