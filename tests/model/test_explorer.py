"""The explorer itself, on parties so small that their schedules can be counted by hand."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from math import comb, factorial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.actors import On
from tests.model.choices import CRASH, Bounds, DivergedError, ViolationError
from tests.model.explorer import Scenario, explore, replay
from tests.model.schedules import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from tests.model.actors import Step
    from tests.model.execution import Execution
    from tests.model.worlds import World


@dataclass
class Things:
    """A place of plain values, and an onlooker who looks at the end only."""

    values: dict[str, Any] = field(default_factory=dict)
    check: Callable[[], None] = lambda: None

    def names(self) -> Sequence[str]:
        """Those that have a value."""
        return list(self.values)

    def value(self, name: str) -> tuple[Hashable, Any] | None:
        """As it is."""
        found = self.values.get(name)
        return None if found is None else (found, found)

    def load(self, name: str, value: Any) -> None:  # noqa: ANN401 - any value
        """As it was."""
        self.values[name] = value

    def after_step(self, _before: World, after: World, _actor: str, _step: Step) -> tuple[World, ViolationError | None]:
        """Nothing to say."""
        return after, None


NEVER = 10**9
COUNTER = ("counter", True)
LOOK = ("counter", False)


def _counting(*, locked: bool) -> tuple[Things, Scenario]:
    """Two clerks add one each; *locked*: reading and writing are one call. In the end the counter must be two."""

    def check() -> None:
        if things.values["counter"] != 2:
            raise ViolationError(f"an update is lost: {things.values['counter']}")

    things = Things({"counter": 0}, check)

    def scenario(execution: Execution) -> Things:
        def clerk() -> None:
            execution.point("read", COUNTER if locked else LOOK)
            seen = things.values["counter"]
            if not locked:
                execution.point("write", COUNTER)
            things.values["counter"] = seen + 1

        execution.spawn("one", clerk)
        execution.spawn("two", clerk)
        return things

    return things, scenario


def _strangers(things: Things, execution: Execution, *, parties: int, calls: int, shared: bool) -> Things:
    def body(name: str) -> None:
        for number in range(calls):
            thing = "everything" if shared else name
            execution.point(f"call {number}", (thing, True))
            things.values[thing] = (*things.values[thing], name)

    things.values.update(dict.fromkeys(["everything", *map(str, range(parties))], ()))
    for number in range(parties):
        execution.spawn(str(number), partial(body, str(number)))
    return things


def _count(*, parties: int, calls: int, preemptions: int, prune: bool = False, shared: bool = True) -> Report:
    things = Things(dict.fromkeys(["everything", *map(str, range(parties))], ()))
    scenario = partial(_strangers, things, parties=parties, calls=calls, shared=shared)
    return explore(things, scenario, bounds=Bounds(preemptions=preemptions, faults=0, prune=prune), audited=NEVER)


@pytest.mark.parametrize(("preemptions", "schedules"), [(0, 2), (1, 4), (2, 6), (3, 6)])
def test_schedules_of_two_parties_with_two_calls_are_counted_exactly(preemptions: int, schedules: int) -> None:
    """Of AABB BBAA | ABBA BAAB | ABAB BABA those with so few preemptions."""
    assert _count(parties=2, calls=2, preemptions=preemptions).schedules == schedules


@pytest.mark.parametrize(("parties", "calls"), [(2, 3), (2, 5), (3, 2), (4, 1)])
def test_unbounded_schedules_are_all_interleavings(parties: int, calls: int) -> None:
    """(n k)! / k!^n."""
    every = factorial(parties * calls) // factorial(calls) ** parties
    report = _count(parties=parties, calls=calls, preemptions=99)

    assert (report.schedules, len(report.ended), report.whole) == (every, every, True)


def test_dependent_calls_are_never_cut_short() -> None:
    """Every order of writes to one thing is a state of its own."""
    assert len(_count(parties=2, calls=4, preemptions=99, prune=True).ended) == comb(8, 4)


def test_order_of_independent_calls_is_tried_once() -> None:
    """Of strangers one order is as good as another: only the grid of how far each has come is walked."""
    report = _count(parties=2, calls=4, preemptions=99, prune=True, shared=False)

    assert report.states == 5 * 5 - 1  # but the first, to which nothing leads
    assert len(report.ended) == 1
    assert report.schedules < comb(8, 4)


def test_each_call_is_made_in_earnest_once() -> None:
    """What an actor does that has seen the same upon the same is known, in whatever order the others came."""
    report = _count(parties=2, calls=4, preemptions=99, prune=True, shared=False)

    assert report.in_earnest == 2 * 4


def test_state_that_was_reached_with_more_left_is_not_gone_on_from_again() -> None:
    """And one that was reached with less left is."""
    few, many = (_count(parties=3, calls=3, preemptions=most, prune=True, shared=False) for most in (1, 99))

    assert few.states < many.states == 4**3 - 1


CALLS = st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.booleans()), min_size=1, max_size=3)


def _programs(programs: Sequence[Sequence[tuple[str, bool, bool]]], *, preemptions: int, prune: bool) -> set[tuple[str, str]]:
    """Where parties end whose calls put their name into a thing; some are ones that yield, some may crash."""
    ends: set[tuple[str, str]] = set()
    things = Things({"a": "", "b": ""}, lambda: ends.add((things.values["a"], things.values["b"])))

    def scenario(execution: Execution) -> Things:
        def body(name: str, calls: Sequence[tuple[str, bool, bool]]) -> None:
            for thing, yields, crashes in calls:
                execution.point(f"call {thing}", (thing, True), yields=yields, faults=(CRASH,) if crashes else ())
                things.values[thing] += name

        for number, calls in enumerate(programs):
            execution.spawn(str(number), partial(body, str(number), calls))
        return things

    bounds = Bounds(preemptions=preemptions, faults=1, together=2, prune=prune)
    assert explore(things, scenario, bounds=bounds, audited=NEVER).whole
    return ends


@given(programs=st.lists(CALLS, min_size=2, max_size=3), preemptions=st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_nothing_is_lost_by_going_on_once_only_from_each_state(
    programs: Sequence[Sequence[tuple[str, bool, bool]]], preemptions: int
) -> None:
    """Whoever stays, and whatever is left to spend: the same ends are come to within the bounds."""
    assert _programs(programs, preemptions=preemptions, prune=True) == _programs(programs, preemptions=preemptions, prune=False)


def test_lost_update_is_found_with_one_preemption_and_replayed() -> None:
    """The story tells the shortest schedule, and its choices lead there again."""
    report = explore(*_counting(locked=False), bounds=Bounds(preemptions=2))

    assert report.found is not None
    assert report.found.story == (("two", "read"), ("one", "read"), ("one", "write"), ("two", "write"))
    assert replay(*_counting(locked=False), report.found.choices) == report.found
    assert "an update is lost: 1" in report.found.tell()
    assert explore(*_counting(locked=False), bounds=Bounds(preemptions=0)).found is None


def test_locked_counter_holds_on_every_schedule() -> None:
    """Two orders, which come to the same."""
    report = explore(*_counting(locked=True), bounds=Bounds(preemptions=9))

    assert (report.found, report.schedules, report.whole) == (None, 2, True)


def test_crash_is_tried_at_each_call() -> None:
    """The calls before it were made, the others never."""
    things = Things({"calls": ()})
    made: set[tuple[str, ...]] = set()
    things.check = lambda: made.add(things.values["calls"])

    def scenario(execution: Execution) -> Things:
        def body() -> None:
            for name in ("a", "b", "c"):
                execution.point(name, ("calls", True), faults=(CRASH,))
                things.values["calls"] = (*things.values["calls"], name)

        execution.spawn("worker", body)
        return things

    assert explore(things, scenario).schedules == 4
    assert made == {(), ("a",), ("a", "b"), ("a", "b", "c")}


def test_actors_that_are_left_over_are_unwound_past_handlers() -> None:
    """A handler of all errors does not notice, and makes no call."""
    things, after = Things({"calls": 0}), []

    def scenario(execution: Execution) -> Things:
        def body() -> None:
            for _ in range(2):
                try:
                    execution.point("call", ("calls", True))
                    things.values["calls"] += 1
                    execution.point("never", ready=On(("calls",), lambda calls: calls > 9))
                except Exception:  # noqa: BLE001 - as stages have them
                    after.append("handled")

        execution.spawn("worker", body)
        return things

    report = explore(things, scenario)

    assert (report.schedules, after) == (1, [])


def test_actor_that_waits_goes_on_when_its_condition_holds() -> None:
    """Not before; and who never can is left standing."""
    things, taken = Things({"queue": ()}), []

    def scenario(execution: Execution) -> Things:
        def send() -> None:
            execution.point("send", ("queue", True))
            things.values["queue"] = (1,)

        def take() -> None:
            while True:
                execution.point("take", ("queue", True), ready=On(("queue",), bool))
                taken.append(things.values["queue"])
                things.values["queue"] = ()

        execution.spawn("taker", take)
        execution.spawn("sender", send)
        return things

    assert explore(things, scenario).schedules == 1
    assert taken == [(1,)]


@pytest.mark.parametrize(("audited", "noticed"), [(NEVER, False), (1, True)])
def test_what_is_touched_without_a_word_is_noticed_by_the_audit(audited: int, *, noticed: bool) -> None:
    """Somebody goes by what he does not say that he reads: taken in earnest again, his step leads elsewhere."""
    things = Things({"mood": 0, "a": 0, "b": 0})

    def scenario(execution: Execution) -> Things:
        def moody() -> None:
            execution.point("look", ("a", False))
            execution.point("smile" if things.values["mood"] else "frown", ("b", True))

        def change() -> None:
            execution.point("change", ("mood", True))
            things.values["mood"] = 1

        execution.spawn("moody", moody)
        execution.spawn("other", change)
        return things

    with pytest.raises(DivergedError) if noticed else nullcontext():
        explore(things, scenario, audited=audited)
