"""``python -m tests.model [--depth N] [--most N] [--store STORE] [NAME ...]``: play the scenarios, tell the first violation of each.

``python -m tests.model --store STORE --replay 0,0,1 NAME`` plays one schedule again.
"""

from __future__ import annotations

import argparse
import sys
from time import monotonic

from tests.model.choices import Bounds
from tests.model.playing import parts, play
from tests.model.scenario import STORES
from tests.model.scenarios import BY_SCENARIO


def main() -> int:
    """Play; 1 if a property was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.model")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *BY_SCENARIO])
    parser.add_argument("--depth", type=int, default=2, help="preemptions and faults at most, together (2)")
    parser.add_argument("--faults", type=int, default=1, help="faults at most, among them (1)")
    parser.add_argument("--most", type=int, help="schedules of a scenario on a store at most, the shortest first (all)")
    parser.add_argument("--processes", type=int, default=0, help="at once (as many as there are processors)")
    parser.add_argument("--store", choices=STORES, action="append", default=[])
    parser.add_argument("--replay", help="the choices of one schedule of NAME on --store, separated by commas")
    given = parser.parse_args()
    if given.replay is not None:
        choices = [int(choice) for choice in given.replay.split(",")]
        again = BY_SCENARIO[given.names[0]].replay(given.store[0], choices)
        _say(again.tell() if again else "the contract holds on this schedule")
        return int(again is not None)
    bounds = Bounds(preemptions=given.depth, faults=given.faults, together=given.depth)
    schedules = states = violations = cut = 0
    start = monotonic()
    chosen = parts(given.names, given.store, bounds=bounds, most=given.most)
    for played in play(chosen, processes=given.processes):
        schedules += played.report.schedules
        cut += len(played.report.met)
        states += played.report.states
        _say(played.line())
        if played.report.found:
            violations += 1
            _say(played.report.found.tell())
    _say(
        f"{len(chosen)} scenarios in {monotonic() - start:.0f} s; {cut} of the schedules end where another one went on from the same state"
    )
    _say(f"{schedules} schedules, {states} states, {violations} violations")
    return int(violations > 0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
