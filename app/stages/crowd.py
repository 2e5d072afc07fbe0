"""How many of a process's tasks work at the same time: as many as the machine has use for.

A hundred requests at once hide a slow link. Where the processors are the limit, they only get into each other's way: a store on the same
cores spends up to twice the CPU on each write (docs/benchmarks.md), and what they get done together is spread over a hundred batches, of
which none is complete. So tasks wait for a place while the processors are busy, but none so long that its message would come a second time,
and none once its worker is to stop. Only processors count: a store that is slow for other reasons has as many tasks as the stage's
concurrency.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LEAST = 8
BEGIN = 32
BUSY = 0.92  # of the machine's processors, or of the one that an interpreter can use
ADAPT_SECONDS = 0.5
IDLE = 0.5
SHRINK, GROW, GROW_IDLE = 0.8, 1.25, 2.0

Load = Callable[[], tuple[float, float]]  # processor seconds so far: of all processors busy, and of all in all


def machine_load() -> tuple[float, float]:
    """Busy and whole processor time of this machine in ticks, from its own account; (0, 0) where it keeps none."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0, 0.0
    return float(sum(fields) - fields[3] - fields[4]), float(sum(fields))  # but idle and waiting for input or output


@dataclass(slots=True)
class Place:
    """What a task holds: room for *size* requests under way."""

    crowd: Crowd
    kind: str
    size: int

    def shrink(self, size: int) -> None:
        """Keep room for *size* requests at most, and leave the rest to others."""
        self.crowd.shrink(self, size)


@dataclass(slots=True, eq=False)
class _Asking:
    """Who is to have *place*, of *size* requests, which leave its kind no more than *most*; *turn* tells that it has it."""

    place: Place
    size: int
    most: float
    turn: threading.Condition


class Crowd:
    """The places of one process; safe for threads."""

    def __init__(self, *, load: Load = machine_load, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with BEGIN places; *load* and *now* are for tests."""
        self._load = load
        self._now = now
        self._lock = threading.Lock()
        self._limit = float(BEGIN)
        self._working = 0
        self._line: list[_Asking] = []  # in the order of asking: messages of neighbours are done one after the other
        self._lacking = False  # whether the first that its kind's bound would let in waits for the limit
        self._of: Counter[str] = Counter()  # places of each kind of task
        self._machine = 0.0  # how much of it was busy, last
        self._read = (now(), time.process_time(), *load())

    @property
    def limit(self) -> int:
        """How many may work at once, now."""
        return int(self._limit)

    @property
    def waiting(self) -> int:
        """How many tasks wait for a place."""
        return len(self._line)

    @contextmanager
    def place(
        self, *, seconds: float, stopping: Callable[[], bool] = lambda: False, size: int = 1, kind: str = "", most: float = math.inf
    ) -> Iterator[Place | None]:
        """Hold a place for the length of a block; waits *seconds* for one at most. None: the worker is to stop, do nothing.

        A task that has *size* requests under way takes room for so many, or for half of them at least: it need not wait for all of a
        small crowd, of which one may be a copy that takes minutes. Those of its *kind* have *most* together.
        """
        place = Place(self, kind, 0)
        one = _Asking(place, size, most, threading.Condition(self._lock))
        try:
            self._stand_in_line(one, until=self._now() + seconds, stopping=stopping)
            yield place if place.size and not stopping() else None
        finally:
            self._leave(one)

    def _stand_in_line(self, one: _Asking, *, until: float, stopping: Callable[[], bool]) -> None:
        with self._lock:
            self._adapt()
            self._line.append(one)
            self._let_in()
            while one in self._line and not stopping():
                if self._now() < until:
                    one.turn.wait(ADAPT_SECONDS)
                    self._adapt()
                else:
                    self._enter(one, one.size)
                    self._let_in()  # of those behind it, whoever waits for the limit now

    def _let_in(self) -> None:
        """Those in the line that there is room for. Who waits for others of its kind keeps nobody else; who waits for the limit does."""
        full: set[str] = set()
        self._lacking = False
        for one in list(self._line):
            kind, free = one.place.kind, self.limit - self._working
            if kind in full or (self._of[kind] and self._of[kind] + one.size > one.most):
                full.add(kind)
            elif self._working and 2 * free < min(one.size, self.limit):
                self._lacking = True
                return
            else:
                self._enter(one, min(one.size, max(free, 1)))
                one.turn.notify()

    def _enter(self, one: _Asking, size: int) -> None:
        self._line.remove(one)
        self._working += size
        self._of[one.place.kind] += size
        one.place.size = size

    def _leave(self, one: _Asking) -> None:
        with self._lock:
            if one in self._line:  # whatever ended its wait
                self._line.remove(one)
                self._let_in()
        self.shrink(one.place, 0)

    def shrink(self, place: Place, size: int) -> None:
        """Take back what *place* has above *size*."""
        with self._lock:
            more = max(0, place.size - size)
            place.size -= more
            self._of[place.kind] -= more
        self.give_back(more)

    def lend(self, wanted: int, *, most: int) -> int:
        """Places for *wanted* more requests of a task that has its own already; gives how many, of those that are free below *most*.

        None while the processors have enough to do: there it is no wait for the store that more requests would fill.
        """
        with self._lock:
            self._adapt()
            free = min(self.limit, most) - self._working
            if self._lacking or self._machine > BUSY:
                return 0
            lent = max(0, min(wanted, free))
            self._working += lent
            return lent

    def give_back(self, lent: int) -> None:
        """Give lent places back."""
        if not lent:
            return
        with self._lock:
            self._working -= lent
            self._adapt()
            self._let_in()

    def _adapt(self) -> None:
        """Fewer places where the processors are busy, more where they are not."""
        at, own, busy, whole = self._read
        now = self._now()
        if now - at < ADAPT_SECONDS:
            return
        own_now, (busy_now, whole_now) = time.process_time(), self._load()
        self._read = (now, own_now, busy_now, whole_now)
        machine = self._machine = (busy_now - busy) / (whole_now - whole) if whole_now > whole else 0.0
        if machine > BUSY or (own_now - own) / (now - at) > BUSY:
            self._limit = max(float(LEAST), self._limit * SHRINK)
        elif self._lacking or self._working >= self.limit - 1:  # more are of use only where all places are taken, or too few are left
            self._limit = self._limit * (GROW if machine > IDLE else GROW_IDLE) + 1
            self._let_in()
