"""Playing many scenarios at once, a process for each processor."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.model.scenarios import BY_SCENARIO, ON_STORES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from tests.model.choices import Bounds
    from tests.model.schedules import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a scenario on a store."""

    name: str
    store: str
    report: Report

    def line(self) -> str:
        """In one line."""
        windows = f", {len(self.report.windows)} windows" if self.report.windows else ""
        return f"{self.name} on {self.store}: {self.report.line()}{windows}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A scenario on a store, to be played within *bounds*, *most* schedules of it."""

    name: str
    store: str
    bounds: Bounds | None
    most: int | None

    def play(self) -> Played:
        """Play it here."""
        logging.getLogger("app").setLevel(logging.ERROR)  # what a full store makes of notes is said in the log of each schedule
        scenario = BY_SCENARIO[self.name]
        bounds = replace(self.bounds, faults=min(self.bounds.faults, scenario.bounds.faults)) if self.bounds else None
        report, _ = scenario.explore(self.store, bounds=bounds, most=self.most)
        return Played(name=self.name, store=self.store, report=report)


def parts(names: Collection[str], stores: Collection[str], *, bounds: Bounds | None, most: int | None) -> list[Part]:
    """The scenarios called *names* on *stores*; none: all."""
    chosen = [(name, store) for name, store in ON_STORES if (not names or name in names) and (not stores or store in stores)]
    return [Part(name=name, store=store, bounds=bounds, most=most) for name, store in chosen]


def play(chosen: Sequence[Part], *, processes: int = 0) -> Iterator[Played]:
    """Play each part, in no order."""
    processes = min(processes or os.cpu_count() or 1, len(chosen))
    if processes <= 1:
        yield from (part.play() for part in chosen)
        return
    # Not by fork: what a process has loaded and what its hashes are is the same in each, from the beginning.
    # What it has loaded is never garbage: the sweep after each scenario looks at the rest only.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=gc.freeze, maxtasksperchild=64) as pool:
        yield from pool.imap_unordered(Part.play, chosen)
