"""Schedules: where one has come to and how, the ways to go on from there, and what is said of all that were played."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.model.choices import NOBODY, Spent
from tests.model.worlds import World

MOST_LINES = 120  # of a story


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A schedule on which a property does not hold."""

    message: str
    choices: tuple[int, ...]  # replays it
    story: tuple[tuple[str, str], ...]

    def tell(self) -> str:
        """The schedule as a story, one call a line; lines of the same actor follow each other without its name."""
        lines, before = [f"VIOLATION: {self.message}", f"replay with choices {','.join(map(str, self.choices))}"], ""
        for number, (name, what) in enumerate(self.story, start=1):
            lines.append(f"{number:4}  {name if name != before else '':<10} {what}")
            before = name
        if len(lines) > MOST_LINES:
            lines[MOST_LINES // 2 : -MOST_LINES // 2] = [f"      ... {len(lines) - MOST_LINES} calls ..."]
        return "\n".join(lines)


@dataclass(slots=True, kw_only=True)
class Report:
    """What an exploration found."""

    ended: set[int] = field(default_factory=set)  # schedules run to their end, each by the hash of its choices
    met: set[int] = field(default_factory=set)  # those that came to a state which another one had gone on from
    calls: int = 0
    in_earnest: int = 0  # of them, made by the real code; the others were known
    states: int = 0
    seconds: float = 0.0
    whole: bool = False  # nothing is left within the bounds
    found: Found | None = None
    windows: dict[str, Found] = field(default_factory=dict)  # the shortest way to each

    @property
    def schedules(self) -> int:
        """How many different schedules were played."""
        return len(self.ended) + len(self.met)

    def line(self) -> str:
        """The summary in one line."""
        said = f"{self.schedules} schedules, {self.states} states, {self.calls} calls ({self.in_earnest} in earnest), {self.seconds:.1f} s"
        return f"{said}, {int(self.found is not None)} violations{'' if self.whole else ', not whole'}"


class Option(NamedTuple):
    """One way to go on, and what is spent then."""

    actor: int
    fault: str | None
    spent: Spent


@dataclass(slots=True, eq=False)
class Node:
    """Where a schedule has come to, and how."""

    world: World
    locals: tuple[int, ...]
    staying: int = NOBODY  # the actor that may go on for nothing
    last: int = NOBODY  # the actor that came last
    spent: Spent = (0, 0)
    before: Node | None = None
    choice: int | None = None  # None: there was one way only
    told: str = ""
    calls: int = 0
    trace: int = 0  # a hash of all choices

    def way(self) -> Iterator[Node]:
        """From here back to the beginning."""
        node: Node | None = self
        while node is not None and node.before is not None:
            yield node
            node = node.before
