"""The explorer itself, on parties so small that their schedules can be counted by hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import comb, factorial
from typing import TYPE_CHECKING

import pytest

from tests.model.choices import CRASH, Bounds, ViolationError
from tests.model.execution import Execution
from tests.model.explorer import Report, explore, replay

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTER = ("counter", True)
LOOK = ("counter", False)


@dataclass
class Counter:
    """Two clerks add one each; *locked*: reading and writing are one call."""

    locked: bool = False

    def __call__(self, execution: Execution) -> Callable[[], object]:
        """Spawn the clerks; in the end the counter must be two."""
        value = 0

        def clerk() -> None:
            nonlocal value
            execution.point("read", COUNTER if self.locked else LOOK)
            seen = value
            if not self.locked:
                execution.point("write", COUNTER)
            value = seen + 1

        execution.spawn("one", clerk)
        execution.spawn("two", clerk)

        def check() -> None:
            if value != 2:
                raise ViolationError(f"an update is lost: {value}")

        return check


def _strangers(execution: Execution, *, parties: int, calls: int, shared: bool) -> Callable[[], object]:
    def body(name: str) -> None:
        for number in range(calls):
            execution.point(f"call {number}", ("everything" if shared else name, True))

    for number in range(parties):
        execution.spawn(str(number), partial(body, str(number)))
    return lambda: None


def _count(*, parties: int, calls: int, preemptions: int, prune: bool = False, shared: bool = True) -> Report:
    bounds = Bounds(preemptions=preemptions, faults=0, prune=prune)
    return explore(lambda execution: _strangers(execution, parties=parties, calls=calls, shared=shared), bounds=bounds)


@pytest.mark.parametrize(("preemptions", "schedules"), [(0, 2), (1, 4), (2, 6), (3, 6)])
def test_schedules_of_two_parties_with_two_calls_are_counted_exactly(preemptions: int, schedules: int) -> None:
    """Of AABB BBAA | ABBA BAAB | ABAB BABA those with so few preemptions."""
    assert _count(parties=2, calls=2, preemptions=preemptions).schedules == schedules


@pytest.mark.parametrize(("parties", "calls"), [(2, 3), (2, 5), (3, 2), (4, 1)])
def test_unbounded_schedules_are_all_interleavings(parties: int, calls: int) -> None:
    """(n k)! / k!^n."""
    every = factorial(parties * calls) // factorial(calls) ** parties
    assert _count(parties=parties, calls=calls, preemptions=99).schedules == every


def test_dependent_calls_are_never_cut_short() -> None:
    """Every order of writes to one thing is a state of its own."""
    assert _count(parties=2, calls=4, preemptions=99, prune=True).schedules == comb(8, 4)


def test_order_of_independent_calls_is_tried_once() -> None:
    """Of strangers one order is as good as another: only the grid of how far each has come is walked."""
    report = _count(parties=2, calls=4, preemptions=99, prune=True, shared=False)

    assert report.states == 5 * 5 - 2  # but the first, and the last, to which nothing is chosen
    assert report.schedules + report.pruned < comb(8, 4)


def test_lost_update_is_found_with_one_preemption_and_replayed() -> None:
    """The story tells the shortest schedule, and its choices lead there again."""
    report = explore(Counter(), bounds=Bounds(preemptions=2))

    assert report.found is not None
    assert report.found.story == (("two", "read"), ("one", "read"), ("one", "write"), ("two", "write"))
    assert replay(Counter(), report.found.choices) == report.found
    assert "an update is lost: 1" in report.found.tell()
    assert explore(Counter(), bounds=Bounds(preemptions=0)).found is None


def test_locked_counter_holds_on_every_schedule() -> None:
    """Two orders, no violation."""
    report = explore(Counter(locked=True), bounds=Bounds(preemptions=9))

    assert (report.found, report.schedules) == (None, 2)


def test_crash_is_tried_at_each_call_and_unwinds_past_handlers() -> None:
    """The calls before it were made, the others never; a handler of all errors does not notice."""
    made: set[tuple[str, ...]] = set()

    def scenario(execution: Execution) -> Callable[[], object]:
        calls: list[str] = []

        def body() -> None:
            for name in ("a", "b", "c"):
                try:
                    execution.point(name, faults=(CRASH,))
                    calls.append(name)
                except Exception:  # noqa: BLE001 - as stages have them
                    calls.append("handled")

        execution.spawn("worker", body)
        return lambda: made.add(tuple(calls))

    assert explore(scenario).schedules == 4
    assert made == {(), ("a",), ("a", "b"), ("a", "b", "c")}
