"""What a schedule is made of: actors that stand before a call, the ways to go on from there, and the states seen so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from greenlet import greenlet

Touch = tuple[str, bool]  # a resource, and whether it is written
CRASH = "crash"


class ViolationError(Exception):
    """A property does not hold on this schedule."""


class WindowError(ViolationError):
    """The application has broken what is asked of it, and a store without conditions lets that hurt: it goes onto the safety page."""


class CrashedError(BaseException):
    """The actor is dead: unwinds its greenlet, past every handler; each further call raises it again."""


class PrunedError(Exception):
    """This state was reached before."""


class DivergedError(Exception):
    """The same choices did not lead to the same calls: something is left to chance or to time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far the exploration goes. *prune*: leave out schedules that differ in the order of independent calls alone."""

    preemptions: int = 2
    faults: int = 1
    together: int = 99  # preemptions and faults
    prune: bool = True


BY_DEFAULT = Bounds()


@dataclass(slots=True, eq=False)
class Actor:
    """One party; *label*, *touches* and *faults* describe the call that it stands before."""

    name: str
    number: int
    greenlet: greenlet
    label: str = ""
    touches: Sequence[Touch] = ()
    faults: Sequence[str] = ()
    ready: Callable[[], bool] | None = None
    yields: bool = False
    fault: str | None = None
    crashed: bool = False
    past: int = 0  # a hash of what it did, and of what wrote to that before
    seen: int = 0  # a hash of what it did, and of what was there: all that decides what it does next
    opaque: str = ""  # what the call touches is known afterwards only, but for the beginning of the names


@dataclass(frozen=True, slots=True)
class Option:
    """One way to go on, and what that costs."""

    actor: Actor
    fault: str | None
    preemptions: int
    faults: int


@dataclass(frozen=True, slots=True)
class Branch:
    """The choices of another schedule; *entered*: the state that the last of them leads to is on record as this one's."""

    choices: bytes
    entered: bool


ROOT = Branch(b"", entered=True)


@dataclass(slots=True)
class Visited:
    """The states seen so far, and at which costs."""

    states: set[int] = field(default_factory=set)
    costs: dict[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict)
    found_out: dict[int, frozenset[Touch]] = field(default_factory=dict)  # what a call that does not say so touches

    def enter(self, state: int, actor: int, cost: tuple[int, int]) -> bool:
        """Whether the state was not gone on from by *actor* at this cost or less before."""
        self.states.add(state)
        known = self.costs.setdefault((state, actor), [])
        if any(preemptions <= cost[0] and faults <= cost[1] for preemptions, faults in known):
            return False
        known.append(cost)
        return True
