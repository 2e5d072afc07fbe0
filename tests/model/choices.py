"""What a schedule is made of: actors that stand before a call, the ways to go on from there, and the states seen so far."""

from __future__ import annotations

from dataclasses import dataclass, field

Touch = tuple[str, bool]  # a resource, and whether it is written
Spent = tuple[int, int]  # preemptions and faults
Left = tuple[int, int, int]  # preemptions, faults, and both together
NOBODY = -1  # stays: any actor may go on for nothing
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

    def left(self, spent: Spent) -> Left | None:
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

    states: dict[int, list[tuple[int, Left]]] = field(default_factory=dict)

    def enter(self, state: int, staying: int, left: Left) -> bool:
        """Whether the state was never gone on from before by so much that all which the actor *staying* makes of *left* is among that."""
        known = self.states.setdefault(state, [])
        entry = staying, left
        if any(_covers(each, entry) for each in known):
            return False
        known[:] = [each for each in known if not _covers(entry, each)]
        known.append(entry)
        return True


def _covers(one: tuple[int, Left], other: tuple[int, Left]) -> bool:
    """Where nobody stays, each may go on for nothing; who stays may be left for a preemption, and then all is as for any who stayed."""
    preemptions, faults, together = one[1]
    if one[0] not in {NOBODY, other[0]}:
        preemptions, faults, together = preemptions - 1, min(faults, together - 1), together - 1
    return preemptions >= other[1][0] and faults >= other[1][1] and min(together, preemptions + faults) >= other[1][2]
