"""The checker, checked: each guard of the contract is taken out in turn, and shows on the scenario that the table names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.model import guards, guards_holding, guards_keys, guards_objects
from tests.model.choices import Bounds
from tests.model.scenarios import BY_SCENARIO

if TYPE_CHECKING:
    from tests.model.mutants import Mutant

GUARDS = (*guards.ALL, *guards_keys.ALL, *guards_objects.ALL, *guards_holding.ALL)
BACKED = guards_objects.BACKED
MOST = 4000  # schedules: many more than any of them takes


@pytest.mark.parametrize("mutant", GUARDS, ids=lambda mutant: mutant.name)
def test_guard_that_is_missing_shows(mutant: Mutant) -> None:
    """Within two preemptions and faults together; and what shows it shows it again."""
    name, store = mutant.caught_by
    bounds = Bounds(preemptions=2, faults=mutant.faults, together=2)
    with mutant.installed():
        report, _ = BY_SCENARIO[name].explore(store, bounds=bounds, most=MOST)
    assert report.found is not None, report.line()
    sys.stdout.write(f"{report.found.tell()}\n{report.line()}\n")
    with mutant.installed():
        again = BY_SCENARIO[name].replay(store, report.found.choices)

    assert again is not None
    assert [step for step, _ in again.story] == [step for step, _ in report.found.story]
    assert BY_SCENARIO[name].replay(store, report.found.choices) is None, "the product itself does that too"


@pytest.mark.parametrize(("mutant", "reason"), BACKED, ids=[mutant.name for mutant, _ in BACKED])
def test_guard_that_something_stands_behind_does_not_show(mutant: Mutant, reason: str) -> None:
    """On no schedule of the scenario in which it would; should this fail, the guard belongs to those that show."""
    name, store = mutant.caught_by
    with mutant.installed():
        report, _ = BY_SCENARIO[name].explore(store, bounds=Bounds(preemptions=2, faults=mutant.faults, together=2))

    assert (report.found, report.whole) == (None, True), reason


def test_guards_have_names_of_their_own() -> None:
    """The table names each once."""
    everyone = [*GUARDS, *(mutant for mutant, _ in BACKED)]
    assert len({guard.name for guard in everyone}) == len(everyone)
