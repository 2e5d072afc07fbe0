"""The real stages on every schedule of the named scenarios that a few preemptions and one fault make; and the checker, checked."""

from __future__ import annotations

import re
import sys

import pytest

from tests.model import scenarios
from tests.model.choices import Bounds
from tests.model.scenario import ANY, STORES

SOON = Bounds(preemptions=1, faults=0)
MOST = 30  # schedules of a scenario that the quick suite plays; `python -m tests.model` plays all
FEW = 12
OF_MINIO = re.compile("spelling|snowball")  # which no other store knows


@pytest.mark.parametrize(("name", "store"), scenarios.ON_STORES)
def test_contract_holds_on_every_schedule(name: str, store: str) -> None:
    """S1, S2, S3, S4, S8 and S9, at every instant and in the end."""
    report, _ = scenarios.BY_SCENARIO[name].explore(store, bounds=SOON, most=MOST)
    sys.stdout.write(f"{name} on {store}: {report.line()}\n")

    assert report.found is None, report.found.tell() if report.found else ""
    assert report.schedules > 1


@pytest.mark.parametrize(
    "name", [each.name for each in scenarios.ALL if each.stores == ANY and not (each.breaks or OF_MINIO.search(each.name))]
)
def test_store_makes_no_difference_where_one_is_left_out(name: str) -> None:
    """Else the conditional store would have to be played too."""
    came_to = []
    for store in STORES:
        report, _ = scenarios.BY_SCENARIO[name].explore(store, bounds=SOON, most=FEW)
        came_to.append((report.schedules, report.states, report.calls, len(report.windows)))

    assert came_to[0] == came_to[1]


def test_schedules_that_meet_would_have_ended_as_others_did() -> None:
    """Going on once only from each state leaves out no ending."""
    endings = []
    for prune in (True, False):
        bounds = Bounds(preemptions=1, faults=0, prune=prune)
        report, ground = scenarios.BY_SCENARIO["H4_upload_to_the_new_key"].explore("like_minio", bounds=bounds)
        endings.append((report.found, report.whole, frozenset(ground.ends.endings)))
        assert bool(report.met) is prune

    assert endings[0] == endings[1]
    assert len(endings[0][2]) > 1


@pytest.mark.parametrize("name", ["H2_copy_outlives_its_lease", "H7_versioned_bucket", "H15_database_restored"])
def test_known_steps_come_to_the_same_when_they_are_taken_in_earnest(name: str) -> None:
    """What a step is known by is all that it depends on."""
    scenario = scenarios.BY_SCENARIO[name]
    bounds = Bounds(preemptions=2, faults=scenario.bounds.faults, together=2)
    report, _ = scenario.explore("conditional", bounds=bounds, most=MOST, audited=1)

    assert report.found is None
    assert report.in_earnest > report.calls / 2
