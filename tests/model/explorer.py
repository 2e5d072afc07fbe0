"""A deterministic explorer of interleavings, bounded in preemptions and faults (CHESS, loom), that goes on once only from each state.

A schedule is a list of choices. Schedules are run from the fewest preemptions and faults on, so that the first violation is a short one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from time import process_time
from typing import Protocol

from tests.model.actors import Step
from tests.model.choices import BY_DEFAULT, NOBODY, Bounds, DivergedError, ViolationError, Visited, WindowError
from tests.model.execution import AUDITED, Execution
from tests.model.schedules import Found, Node, Option, Report
from tests.model.worlds import Place, World

LONGEST = 500  # calls in a schedule; more of them is a livelock


class Onlooker(Protocol):
    """Who sees every step, and knows what must hold."""

    def after_step(self, before: World, after: World, actor: str, step: Step) -> tuple[World, ViolationError | None]:
        """The state after a step, with what is to be remembered of that; and the property that it has broken."""

    def check(self) -> None:
        """Look at the end, to which the place is set. Raises ViolationError."""


Scenario = Callable[[Execution], Onlooker]  # spawns its actors


class Search:
    """One exploration of a scenario."""

    def __init__(self, place: Place, scenario: Scenario, *, bounds: Bounds, audited: int = AUDITED) -> None:
        self.execution = Execution(place, audited=audited)
        self.report = Report()
        self.bounds = bounds
        self._left = {spent: bounds.left(spent) for spent in product(range(bounds.preemptions + 2), range(bounds.faults + 2))}
        self._looks_on = scenario(self.execution)
        self._visited = Visited()
        self._ends: dict[World, ViolationError | None] = {}
        self._waiting: list[list[tuple[Node, int, Option]]] = [[] for _ in range(bounds.preemptions + bounds.faults + 1)]

    def root(self) -> Node:
        """Where all schedules begin."""
        return Node(self.execution.start, tuple(self.execution.beginnings))

    def run(self, *, most: int | None) -> None:
        """Play all schedules, *most* at most, until one violates a property."""
        report = self.report
        self._go_on(self.root())
        while report.found is None and (most is None or report.schedules < most):
            stack = next((stack for stack in self._waiting if stack), None)
            if stack is None:
                report.whole = True
                break
            self._go_on(self._follow(*stack.pop()))

    def options(self, node: Node) -> list[Option]:
        """The ways to go on: first the actor that came last, unless it yields."""
        execution = self.execution
        ready = [actor for actor, local in enumerate(node.locals) if execution.is_ready(local, node.world)]
        if node.last in ready:
            ready.remove(node.last)
            ready.insert(0 if node.staying == node.last else len(ready), node.last)
        preemptions, faults = node.spent
        plain = [Option(actor, None, (preemptions + (node.staying not in {NOBODY, actor}), faults)) for actor in ready]
        return plain + [
            Option(option.actor, fault, (option.spent[0], faults + 1))
            for option in plain
            for fault in execution.locals[node.locals[option.actor]].faults
        ]

    def take(self, node: Node, choice: int | None, option: Option) -> tuple[Node, ViolationError | None]:
        """Take a step; gives the property that does not hold after it."""
        execution, actor = self.execution, option.actor
        step = execution.step(node.locals[actor], option.fault, node.world)
        self.report.calls += 1
        world, error = node.world, step.error
        if step.writes:
            changed = list(world)
            for index, number in step.writes:
                changed[index] = number
            world = tuple(changed)
        if step.writes or step.events:
            world, broken = self._looks_on.after_step(node.world, world, execution.names[actor], step)
            error = error or broken
        places = (*node.locals[:actor], step.to, *node.locals[actor + 1 :])
        after = Node(world, places, NOBODY, actor, option.spent, node, choice, step.told, node.calls + 1)
        after.trace = node.trace if choice is None else hash((node.trace, choice))
        if not execution.locals[step.to].yields and execution.is_ready(step.to, world):
            after.staying = actor
        return after, error or (ViolationError(f"no end after {LONGEST} calls") if after.calls > LONGEST else None)

    def end(self, node: Node) -> ViolationError | None:
        """What does not hold where nobody can go on any more."""
        if node.world not in self._ends:
            self.execution.worlds.load(node.world)
            self._ends[node.world] = None
            try:
                self._looks_on.check()
            except ViolationError as error:
                self._ends[node.world] = error
            self.execution.worlds.forget()
        return self._ends[node.world]

    def replay(self, choices: list[int]) -> Found | None:
        """Play one schedule; beyond *choices*, the first option each time."""
        node: Node = self.root()
        error: ViolationError | None = None
        while error is None:
            options = self.options(node)
            if not options:
                error = self.end(node)
                break
            number = choices.pop(0) if len(options) > 1 and choices else 0
            if number >= len(options):
                raise DivergedError(f"there are {len(options)} options only, and not number {number}")
            node, error = self.take(node, number if len(options) > 1 else None, options[number])
        self._ended(node, error)
        return self.report.found or next(iter(self.report.windows.values()), None)

    @property
    def states(self) -> int:
        """How many different ones were seen."""
        return len(self._visited.states)

    # Inside

    def _follow(self, node: Node, choice: int | None, option: Option) -> Node | None:
        """The state after a step, if there is anything to go on from."""
        after, error = self.take(node, choice, option)
        if error is not None:
            self._ended(after, error)
            return None
        left = self._left[after.spent]
        if left is None or (not self._visited.enter(hash((after.world, after.locals)), after.staying, left) and self.bounds.prune):
            self.report.met.add(after.trace)
            return None
        return after

    def _go_on(self, node: Node | None) -> None:
        """Go on by the first option each time, and leave the others for later."""
        left = self._left
        while node is not None:
            options = self.options(node)
            if not options:
                self._ended(node, self.end(node))
                return
            for number in range(len(options) - 1, 0, -1):
                if left[options[number].spent] is not None:
                    self._waiting[sum(options[number].spent)].append((node, number, options[number]))
            node = self._follow(node, 0 if len(options) > 1 else None, options[0])

    def _ended(self, node: Node, error: ViolationError | None) -> None:
        self.report.ended.add(node.trace)
        if error is None:
            return
        way = list(node.way())[::-1]
        found = Found(
            message=str(error),
            choices=tuple(each.choice for each in way if each.choice is not None),
            story=tuple((self.execution.names[each.last], each.told) for each in way),
        )
        if isinstance(error, WindowError):
            self.report.windows.setdefault(str(error), found)
        elif self.report.found is None:
            self.report.found = found


def explore(place: Place, scenario: Scenario, *, bounds: Bounds = BY_DEFAULT, most: int | None = None, audited: int = AUDITED) -> Report:
    """Run all schedules of *scenario* within *bounds* (*most* of them), until one violates a property."""
    start = process_time()
    with _gathered_by_count():
        search = Search(place, scenario, bounds=bounds, audited=audited)
        try:
            search.run(most=most)
        finally:
            search.execution.close()
    report = search.report
    report.seconds, report.states, report.in_earnest = process_time() - start, search.states, search.execution.in_earnest
    return report


def replay(place: Place, scenario: Scenario, choices: Sequence[int], *, bounds: Bounds = BY_DEFAULT) -> Found | None:
    """Run one schedule again, each call of it in earnest; gives the violation, if there still is one, or the window."""
    search = Search(place, scenario, bounds=bounds, audited=0)
    try:
        return search.replay(list(choices))
    finally:
        search.execution.close()


@contextmanager
def _gathered_by_count() -> Iterator[None]:
    """Greenlets and their frames are freed by their counts: sweeps would take a tenth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        gc.collect()
