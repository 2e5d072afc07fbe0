"""What a schedule is made of: actors that stand before a call, the ways to go on from there, and the states seen so far."""

from __future__ import annotations

from dataclasses import dataclass, field

Touch = tuple[str, bool]  # a resource, and whether it is written
Spent = tuple[int, int]  # preemptions and faults
CRASH = "crash"


class ViolationError(Exception):
    """A property does not hold on this schedule."""


class WindowError(ViolationError):
    """The application has broken what is asked of it, and a store without conditions lets that hurt: it goes onto the safety page."""


class CrashedError(BaseException):
    """The actor is dead: unwinds its greenlet, past every handler; each further call raises it again."""


class DivergedError(Exception):
    """The same choices did not lead to the same calls: something is left to chance or to time, or touched without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far the exploration goes. *prune*: go on only once from each state."""

    preemptions: int = 2
    faults: int = 1
    together: int = 99  # preemptions and faults
    prune: bool = True

    def left(self, spent: Spent) -> tuple[int, int, int] | None:
        """Preemptions, faults, and both together that may still come; None where too many were spent."""
        together = self.together - sum(spent)
        preemptions, faults = min(self.preemptions - spent[0], together), min(self.faults - spent[1], together)
        if preemptions < 0 or faults < 0:
            return None
        return preemptions, faults, min(together, preemptions + faults)


BY_DEFAULT = Bounds()


@dataclass(slots=True)
class Visited:
    """The states seen so far, and with how much left to spend. A state is kept as its hash of 64 bits."""

    states: set[int] = field(default_factory=set)
    left: dict[tuple[int, int], list[tuple[int, int, int]]] = field(default_factory=dict)

    def enter(self, state: int, staying: int, left: tuple[int, int, int]) -> bool:
        """Whether the state was not gone on from before by the actor *staying* with as much left, or more."""
        self.states.add(state)
        known = self.left.setdefault((state, staying), [])
        if any(map(_as_much, known, [left] * len(known))):
            return False
        known[:] = [less for less in known if not _as_much(left, less)]
        known.append(left)
        return True

    def holds(self, state: int, staying: int, left: tuple[int, int, int]) -> bool:
        """Whether nobody came to the state with more left since it was entered with so much."""
        return left in self.left[state, staying]


def _as_much(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return one[0] >= other[0] and one[1] >= other[1] and one[2] >= other[2]
