"""``python -m tests.model [--depth N] [--faults N] [--most N] [NAME ...]``: play the scenarios, tell the first violation of each.

``python -m tests.model --store STORE --replay 0,0,1 NAME`` plays one schedule again.
"""

from __future__ import annotations

import argparse
import sys

from tests.model.choices import Bounds
from tests.model.scenario import STORES
from tests.model.scenarios import ALL, BY_SCENARIO


def main() -> int:
    """Play; 1 if a property was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.model")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *BY_SCENARIO])
    parser.add_argument("--depth", type=int, default=2, help="preemptions at most (2)")
    parser.add_argument("--faults", type=int, default=1, help="faults at most (1)")
    parser.add_argument("--most", type=int, help="schedules of a scenario at most")
    parser.add_argument("--store", choices=STORES, action="append")
    parser.add_argument("--replay", help="the choices of one schedule of NAME on --store, separated by commas")
    given = parser.parse_args()
    if given.replay is not None:
        choices = [int(choice) for choice in given.replay.split(",")]
        again = BY_SCENARIO[given.names[0]].replay(given.store[0], choices)
        _say(again.tell() if again else "the contract holds on this schedule")
        return int(again is not None)
    schedules = states = violations = 0
    for scenario in [BY_SCENARIO[name] for name in given.names] or ALL:
        for store in [store for store in given.store or STORES if store in scenario.stores]:
            bounds = Bounds(preemptions=given.depth, faults=given.faults)
            report, ground = scenario.explore(store, bounds=bounds, most=given.most)
            schedules += report.schedules
            states += report.states
            line = f"{scenario.name} on {store}: {report.line()}"
            settled = f"{ground.ends.count} settled in {ground.ends.seconds:.1f} of {report.seconds:.1f} s"
            _say(f"{line}, {settled}, {ground.transactions.played} transactions + {ground.transactions.repeated} repeated")
            if report.found:
                violations += 1
                _say(report.found.tell())
    _say(f"{schedules} schedules, {states} states, {violations} violations")
    return int(violations > 0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
