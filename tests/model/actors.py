"""The actors of a schedule: where they stand, the steps that they take, and the greenlets that take them.

An actor that stands before the same call, having seen the same, does the same upon the same things. So each step is taken in earnest
once, and kept: where the actor stands afterwards, what it touched, and what it made of that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from greenlet import greenlet

from tests.model.choices import CrashedError, Touch, ViolationError

GONE = 0  # where an actor is that has ended or crashed


@dataclass(frozen=True, slots=True)
class On:
    """A condition on what some resources are."""

    resources: tuple[str, ...]
    holds: Callable[..., bool]


@dataclass(slots=True)
class Local:
    """One place that an actor can come to: the call before which it stands, and all that it has seen on the way there."""

    actor: int
    label: str = ""
    touches: Sequence[Touch] = ()
    faults: Sequence[str] = ()
    ready: On | None = None
    yields: bool = False
    carries: Hashable = None  # all that the actor has kept of what it did before; None: who knows
    counted: int = 0
    step: Step | None = None  # by which it came there; None: at the beginning
    before: int = GONE  # from where

    def call(self) -> tuple[Any, ...]:
        """What is known of the call."""
        return (self.label, tuple(self.touches), tuple(self.faults), self.yields)


@dataclass(slots=True)
class Record:
    """What a call is seen to do while it is made."""

    touched: dict[str, bool] = field(default_factory=dict)
    events: list[tuple[str, ...]] = field(default_factory=list)
    answers: list[Any] | None = None  # of the database, by which the rest of the step can be taken again
    told: str = ""  # what the database was asked, in words
    error: ViolationError | None = None

    def touch(self, name: str, *, write: bool) -> None:
        """A resource is read or written."""
        self.touched[name] = write or self.touched.get(name, False)

    def tell(self) -> None:
        """Put what was touched so far into words."""
        for what, write in (("reads", False), ("writes", True)):
            names = sorted(name for name, written in self.touched.items() if written is write and name.startswith("table "))
            self.told += f"; {what} {', '.join(names)}" if names else ""

    def seen(self) -> Hashable:
        """What the database answered."""
        return tuple((answer.rowcount, tuple(map(tuple, answer.rows))) for answer in self.answers or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a call did. *reads*: all that it touched, as that was before; *writes*: what that has become, where it has changed."""

    told: str
    fault: str | None
    to: int  # where the actor stands now
    reads: tuple[tuple[int, int], ...] = ()
    writes: tuple[tuple[int, int], ...] = ()
    wrote: frozenset[str] = frozenset()  # the resources that have changed
    events: tuple[tuple[str, ...], ...] = ()
    answers: Sequence[Any] | None = None
    error: ViolationError | None = None


class Body(greenlet):  # type: ignore[misc] # greenlet has no types
    """A greenlet that is told when it is to die: whatever it would still do on its way out is not done."""

    dying = False


@dataclass(slots=True, eq=False)
class Thread:
    """One greenlet of an actor. *local*: where it stands, as far as that has a number yet."""

    actor: int
    greenlet: Body
    stands: Local
    fault: str | None = None
    counted: int = 0

    def go_on(self, fault: str | None) -> ViolationError | None:
        """Make the call; gives the property that the actor saw broken."""
        self.fault = fault
        try:
            self.greenlet.switch()
        except ViolationError as error:
            return error
        return None

    def end(self) -> None:
        """Unwind what is left of it."""
        if not self.greenlet.dead:
            self.greenlet.dying = True
            try:
                self.greenlet.throw(CrashedError)
            except CrashedError:
                return


class Standing:
    """Greenlets that stand somewhere, for when the search comes back there; the last *most* of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads: OrderedDict[int, Thread] = OrderedDict()

    def __contains__(self, local: int) -> bool:
        return local in self._threads

    def take(self, local: int) -> Thread | None:
        """The one that stands there, if one does."""
        return self._threads.pop(local, None)

    def keep(self, local: int, thread: Thread) -> None:
        """Another one stands there."""
        before = self.take(local)
        if before is not None:
            before.end()
        self._threads[local] = thread
        if len(self._threads) > self._most:
            self._threads.popitem(last=False)[1].end()

    def end_all(self) -> None:
        """Unwind all of them."""
        while self._threads:
            self._threads.popitem()[1].end()
