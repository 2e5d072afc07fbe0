"""Places for tasks: fewer where the processors are busy, more where they are not, and nobody waits for ever."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any, Self

import pytest

from app.stages.crowd import BEGIN, BUSY, LEAST, Crowd, machine_load


class Machine:
    """A clock and an account of processors that a test sets."""

    def __init__(self) -> None:
        self.time, self.busy, self.whole = 0.0, 0.0, 0.0

    def now(self) -> float:
        """Seconds."""
        return self.time

    def load(self) -> tuple[float, float]:
        """Busy and whole time."""
        return self.busy, self.whole

    def later(self, *, busy: float) -> None:
        """A second passes in which so much of the processors was busy."""
        self.time += 1
        self.whole += 100
        self.busy += 100 * busy


@pytest.fixture
def machine() -> Machine:
    """An idle machine."""
    return Machine()


def _used(places: Crowd, machine: Machine, *, busy: float, seconds: int) -> int:
    """Take all places for so many seconds; the places there are then."""
    for _ in range(seconds):
        with ExitStack() as taken:
            for _ in range(places.limit):
                taken.enter_context(places.place(seconds=1))
            machine.later(busy=busy)
    return places.limit


def test_busy_processors_leave_a_few_places(machine: Machine) -> None:
    """And never none."""
    places = Crowd(load=machine.load, now=machine.now)

    assert _used(places, machine, busy=1.0, seconds=30) == LEAST


def test_idle_processors_make_more_places_until_a_hundred_tasks_have_one(machine: Machine) -> None:
    """A slow link is hidden by many requests at once."""
    places = Crowd(load=machine.load, now=machine.now)

    assert _used(places, machine, busy=0.3, seconds=12) >= 100


def test_idle_processors_make_a_hundred_places_within_seconds(machine: Machine) -> None:
    """What a far store gets done is bounded by the requests under way, from the beginning; near their end places come slowly."""
    idle, half_busy = (Crowd(load=machine.load, now=machine.now) for _ in range(2))

    assert _used(idle, machine, busy=0.2, seconds=4) >= 100
    assert _used(half_busy, machine, busy=0.7, seconds=4) < 2 * BEGIN * 1.5


def test_places_that_nobody_needs_are_not_multiplied(machine: Machine) -> None:
    """Else a burst after a quiet hour would find thousands."""
    places = Crowd(load=machine.load, now=machine.now)
    for _ in range(50):
        with places.place(seconds=1):
            machine.later(busy=0.1)

    assert places.limit == BEGIN


def test_machine_without_an_account_limits_nobody(machine: Machine) -> None:
    """What is not known is not guessed."""
    places = Crowd(load=lambda: (0.0, 0.0), now=machine.now)

    assert _used(places, machine, busy=1.0, seconds=12) >= 100


def test_task_waits_for_a_place_but_not_for_ever() -> None:
    """A message that waited past the visibility timeout would come twice."""
    places = Crowd(load=lambda: (0.0, 0.0))
    entered = threading.Event()
    with ExitStack() as taken:
        for _ in range(BEGIN):
            taken.enter_context(places.place(seconds=1))

        def wait() -> None:
            with places.place(seconds=0.2):
                entered.set()

        thread = threading.Thread(target=wait)
        thread.start()
        at_once = entered.wait(0.05)
        later = entered.wait(5)
        thread.join()

    assert (at_once, later) == (False, True)


def test_task_that_waits_for_a_place_does_nothing_once_its_worker_is_to_stop() -> None:
    """It hands its message back at once, not when the wait is over."""
    places = Crowd(load=lambda: (0.0, 0.0))
    got: list[bool] = []
    stop = threading.Event()
    with ExitStack() as taken:
        for _ in range(BEGIN):
            taken.enter_context(places.place(seconds=1))

        def wait() -> None:
            with places.place(seconds=60, stopping=stop.is_set) as placed:
                got.append(placed is not None)

        thread = threading.Thread(target=wait)
        thread.start()
        stop.set()
        thread.join(timeout=30)
        ended = not thread.is_alive()

    assert (ended, got) == (True, [False])


def test_this_machine_tells_how_busy_it_is() -> None:
    """Busy time is a part of the whole."""
    busy, whole = machine_load()

    assert 0 <= busy <= whole


def test_place_is_lent_only_where_nobody_waits_and_the_stage_allows_it(machine: Machine) -> None:
    """A large copy's second request goes where a task could, and never where one does."""
    places = Crowd(load=machine.load, now=machine.now)
    with places.place(seconds=1):
        assert [places.lend(1, most=4) for _ in range(4)] == [1, 1, 1, 0]
        places.give_back(1)
        assert places.lend(2, most=4) == 1
        places.give_back(3)
        lent = places.lend(2 * BEGIN, most=1000)

    assert lent == BEGIN - 1


@pytest.mark.parametrize(("busy", "lent"), [(BUSY - 0.1, 1), (BUSY + 0.05, 0)])
def test_place_is_not_lent_where_the_processors_have_enough_to_do(machine: Machine, busy: float, lent: int) -> None:
    """There a request more is answered no sooner, and costs a store on the same machine more."""
    places = Crowd(load=machine.load, now=machine.now)
    with places.place(seconds=1):
        machine.later(busy=busy)

        assert places.lend(1, most=1000) == lent


def test_place_is_not_lent_while_a_task_waits_for_one() -> None:
    """Tasks come first."""
    places = Crowd(load=lambda: (0.0, 0.0))
    with ExitStack() as taken:
        for _ in range(BEGIN):
            taken.enter_context(places.place(seconds=1))
        places._limit = float(BEGIN)
        waiting = threading.Thread(target=lambda: places.place(seconds=5).__enter__())
        waiting.start()
        while not places._lacking:
            pass
        places._limit = float(BEGIN + 5)

        assert not places.lend(1, most=1000)
    waiting.join()


def _waits(places: Crowd, **asked: Any) -> bool:  # noqa: ANN401 - as ``place`` takes them
    """Whether a task of such a kind has to wait."""
    entered, leave = threading.Event(), threading.Event()

    def take() -> None:
        with places.place(seconds=60, stopping=leave.is_set, **asked) as placed:
            if placed:
                entered.set()

    thread = threading.Thread(target=take)
    thread.start()
    at_once = entered.wait(0.1)
    leave.set()
    thread.join()
    return not at_once


@pytest.mark.parametrize(
    ("held", "size", "gets"), [(8, 10, 10), (BEGIN - 8, 10, 8), (BEGIN - 5, 10, 5), (BEGIN - 4, 10, None), (BEGIN, 1, None)]
)
def test_task_takes_a_place_for_each_request_that_it_has_under_way(held: int, size: int, gets: int | None) -> None:
    """The places are requests, whoever sends them; half of what it asks for is worth to begin with."""
    places = Crowd(load=lambda: (0.0, 0.0), now=lambda: 0.0)
    asked = 0

    def stop() -> bool:  # once it had to wait
        nonlocal asked
        asked += 1
        return asked > 2

    with places.place(seconds=1, size=held), places.place(seconds=1, size=size, stopping=stop if gets is None else lambda: False) as placed:
        assert (placed and placed.size) == gets
        assert places._working == held + (gets or 0)
    assert places._working == 0


def test_task_leaves_the_room_that_it_has_no_use_for_to_others() -> None:
    """Its own kind's share, too; and at its end it gives back what it still has."""
    places = Crowd(load=lambda: (0.0, 0.0), now=lambda: 0.0)
    with places.place(seconds=1, size=8, kind="copy", most=8) as place:
        assert place is not None
        place.shrink(9)
        before = _waits(places, size=7, kind="copy", most=8)
        place.shrink(1)
        after = _waits(places, size=7, kind="copy", most=8)

        assert (before, after, place.size, places._working) == (True, False, 1, 1)
    assert (places._working, places._of["copy"]) == (0, 0)


def test_task_that_is_larger_than_all_places_works_alone(machine: Machine) -> None:
    """Where the processors are busy the places are few; it is not left waiting for more than there are."""
    places = Crowd(load=machine.load, now=machine.now)
    with places.place(seconds=1, size=2 * BEGIN) as placed:
        assert placed
        assert _waits(places, size=1)


@pytest.mark.parametrize(("kind", "waits"), [("copy", True), ("rename", False)])
def test_tasks_of_a_kind_have_no_more_requests_under_way_than_their_concurrency(kind: str, waits: bool) -> None:  # noqa: FBT001 - a case
    """However many places the machine has; another stage of the same process has its own."""
    places = Crowd(load=lambda: (0.0, 0.0), now=lambda: 0.0)
    with places.place(seconds=1, size=8, kind="copy", most=15):
        assert _waits(places, size=8, kind=kind, most=15) is waits


def test_place_is_lent_while_tasks_wait_for_what_their_concurrency_leaves() -> None:
    """It is not the machine's room that they lack."""
    places = Crowd(load=lambda: (0.0, 0.0), now=lambda: 0.0)
    leave = threading.Event()

    def wait() -> None:
        with places.place(seconds=60, stopping=leave.is_set, size=8, kind="copy", most=8):
            pass

    with places.place(seconds=1, size=8, kind="copy", most=8):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not places._line:
            pass
        lent = places.lend(2, most=100)
        leave.set()
        waiting.join()

        assert lent == 2
        places.give_back(lent)


def test_idle_machine_makes_room_for_a_large_task_that_waits(machine: Machine) -> None:
    """Though a few places are free: too few for it."""
    places = Crowd(load=machine.load, now=machine.now)
    leave = threading.Event()

    def wait() -> None:
        with places.place(seconds=60, stopping=leave.is_set, size=10):
            pass

    with places.place(seconds=1, size=BEGIN - 4):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not places._lacking:
            pass
        machine.later(busy=0.1)
        waiting.join(timeout=30)  # it looks again by itself
        leave.set()

    assert not waiting.is_alive()
    assert places.limit > BEGIN


class Line:
    """Tasks that stand in line for *places*, one behind the other; each says so once it is let in."""

    def __init__(self, places: Crowd) -> None:
        self.places, self.let_in, self._stop = places, [], threading.Event()
        self._told = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._leave: dict[str, threading.Event] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for leave in self._leave.values():
            leave.set()
        for thread in self._threads:
            thread.join()

    def join(self, name: str, **asked: Any) -> None:  # noqa: ANN401 - as ``place`` takes them
        """One more stands at the end."""
        behind = len(self.places._line)
        leave = self._leave[name] = threading.Event()

        def take() -> None:
            with self.places.place(seconds=60, stopping=self._stop.is_set, **asked) as placed:
                if placed is None:
                    return
                with self._told:
                    self.let_in.append(name)
                    self._told.notify()
                leave.wait()

        self._threads.append(threading.Thread(target=take))
        self._threads[-1].start()
        while len(self.places._line) == behind and name not in self.let_in:
            pass

    def leave(self, name: str, *, until: int) -> list[str]:
        """One that was let in is over; who was let in once it is so many."""
        self._leave[name].set()
        with self._told:
            self._told.wait_for(lambda: len(self.let_in) >= until, timeout=5)
        return list(self.let_in)


def test_tasks_are_let_in_in_the_order_in_which_they_came() -> None:
    """Messages of neighbours are done one after the other: the next stage gets whole batches of them, and its looks are dense."""
    places = Crowd(load=lambda: (0.0, 0.0), now=lambda: 0.0)
    with Line(places) as line:
        names = [f"{number}" for number in range(6)]
        for name in names:
            line.join(name, kind="copy", size=4, most=4)
        for number, name in enumerate(names):
            assert line.leave(name, until=min(number + 2, 6)) == names[: number + 2]


def test_task_that_is_too_large_for_what_is_free_is_not_overtaken() -> None:
    """Else a worker of all stages never had ten places free at once; who waits for its own kind alone keeps nobody, but its own."""
    places = Crowd(load=lambda: (0.0, 0.0), now=lambda: 0.0)
    with Line(places) as line:
        line.join("rename", kind="rename", size=BEGIN - 4, most=BEGIN)
        line.join("delete", kind="delete", size=2, most=2)
        line.join("delete 2", kind="delete", size=1, most=2)
        line.join("copy", kind="copy", size=10, most=20)
        line.join("seed", kind="seed", size=1, most=1)
        before = list(line.let_in)
        after = line.leave("rename", until=4)

    assert before == ["rename", "delete"]
    assert sorted(after[2:4]) == ["copy", "seed"]


def test_task_has_all_places_where_they_are_fewer_than_it_asks_for() -> None:
    """Its requests get no more room than the machine has use for."""
    places = Crowd(load=lambda: (0.0, 0.0), now=lambda: 0.0)
    with places.place(seconds=1, size=2 * BEGIN) as placed:
        assert placed is not None
        assert placed.size == places._working == BEGIN


def test_wait_that_is_broken_off_leaves_the_line() -> None:
    """A child that is told to die in its wait must not keep the place that it would have had."""
    places = Crowd(load=lambda: (0.0, 0.0), now=lambda: 0.0)

    def die() -> bool:
        raise SystemExit

    with places.place(seconds=1, size=BEGIN):
        with pytest.raises(SystemExit), places.place(seconds=60, stopping=die):
            pass
        assert places._line == []
    assert (places._working, places._of[""]) == (0, 0)


def test_task_whose_patience_ends_is_not_waited_for_any_more() -> None:
    """It works beyond the limit then, and is no reason to lend nothing, or to make more places."""
    places = Crowd(load=lambda: (0.0, 0.0), now=lambda: 0.0)
    with places.place(seconds=1, size=BEGIN), places.place(seconds=0) as placed:
        assert placed is not None
        assert not places._lacking
