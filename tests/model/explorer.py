"""A deterministic explorer of interleavings: stateless, replaying by re-execution, bounded in preemptions and faults (CHESS, loom).

A schedule is a list of choices. Schedules are run from the fewest preemptions and faults on, so that the first violation is a short one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import process_time

from tests.model.choices import BY_DEFAULT, ROOT, Bounds, Branch, PrunedError, ViolationError, Visited, WindowError
from tests.model.execution import Execution

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

    schedules: int = 0  # run to their end
    pruned: int = 0  # ended early, in a state that was known
    calls: int = 0
    states: int = 0
    seconds: float = 0.0
    whole: bool = False  # nothing is left within the bounds
    found: Found | None = None
    windows: dict[str, Found] = field(default_factory=dict)  # the shortest way to each

    def line(self) -> str:
        """The summary in one line."""
        rate = (self.schedules + self.pruned) / self.seconds if self.seconds else 0.0
        said = f"{self.schedules} schedules + {self.pruned} cut short, {self.states} states, {self.calls} calls, {rate:.0f}/s"
        return f"{said}, {int(self.found is not None)} violations{'' if self.whole else ', not whole'}"


Scenario = Callable[[Execution], Callable[[], object]]  # spawns its actors, gives the check of the end


def explore(scenario: Scenario, *, bounds: Bounds = BY_DEFAULT, most: int | None = None) -> Report:
    """Run all schedules of *scenario* within *bounds* (*most* of them), until one violates a property."""
    report, visited = Report(), Visited()
    waiting: list[list[Branch]] = [[] for _ in range(bounds.preemptions + bounds.faults + 1)]
    waiting[0].append(ROOT)
    start = process_time()
    collecting = gc.isenabled()
    gc.disable()  # greenlets and their frames are freed by their counts; a sweep now and then does for the rest
    try:
        while report.found is None and (most is None or report.schedules + report.pruned < most):
            stack = next((stack for stack in waiting if stack), None)
            if stack is None:
                report.whole = True
                break
            _run_one(scenario, stack.pop(), bounds=bounds, visited=visited, report=report, waiting=waiting)
            if (report.schedules + report.pruned) % 1000 == 0:
                gc.collect()
    finally:
        if collecting:
            gc.enable()
    report.seconds, report.states = process_time() - start, len(visited.states)
    return report


def replay(scenario: Scenario, choices: Sequence[int], *, bounds: Bounds = BY_DEFAULT) -> Found | None:
    """Run one schedule again; gives the violation, if there still is one, or the window."""
    report = Report()
    _run_one(scenario, Branch(bytes(choices), entered=True), bounds=bounds, visited=Visited(), report=report, waiting=None)
    return report.found or next(iter(report.windows.values()), None)


def _run_one(
    scenario: Scenario, branch: Branch, *, bounds: Bounds, visited: Visited, report: Report, waiting: list[list[Branch]] | None
) -> None:
    execution = Execution(branch, bounds=bounds, visited=visited)
    try:
        check = scenario(execution)
        execution.run()
        execution.close()
        check()
        report.schedules += 1
    except PrunedError:
        report.pruned += 1
    except WindowError as error:
        report.schedules += 1
        report.windows.setdefault(str(error), _found(error, execution))
    except ViolationError as error:
        report.schedules += 1
        report.found = _found(error, execution)
    finally:
        execution.close()
        report.calls += len(execution.story)
    if waiting is not None:
        for cost, other in execution.branches:
            waiting[cost].append(other)


def _found(error: ViolationError, execution: Execution) -> Found:
    return Found(message=str(error), choices=tuple(execution.path), story=tuple(execution.story))
