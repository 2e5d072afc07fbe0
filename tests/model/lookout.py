"""Sees every step of a ground's schedules, and their ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.model.choices import ViolationError
from tests.model.contents import GHOSTS
from tests.model.views import ASSETS, MOVES, RUNS, VISITS, View, Views
from tests.model.worlds import ALL_OBJECTS, OBJECT

if TYPE_CHECKING:
    from tests.model.actors import Step
    from tests.model.execution import Execution
    from tests.model.ground import Ground
    from tests.model.oracles import Ghosts
    from tests.model.worlds import World

_DELETE = "delete "


class Lookout:
    """The onlooker of one exploration of a ground."""

    def __init__(self, ground: Ground, execution: Execution) -> None:
        self._ground = ground
        self._execution = execution
        self._worlds = execution.worlds
        self._views = Views(ground, execution.worlds)
        self._at_ghosts = execution.worlds.index(GHOSTS)
        self._sound: set[tuple[int, ...]] = set()  # what was found to hold, by the numbers that it depends on

    def after_step(self, before: World, after: World, actor: str, step: Step) -> tuple[World, ViolationError | None]:
        """The state after a step, with what is to be remembered of that; and the property that it has broken."""
        now = self._views.view(after)
        if step.events:
            after = self._with(after, self._ground.oracles.remember(now.ghosts, step.events, actor, now.clock[0]))
            now = self._views.view(after)
        if MOVES in step.wrote or RUNS in step.wrote:
            ghosts = self._ground.oracles.remember_claims(self._views.view(before), now, actor)
            if ghosts is not now.ghosts:
                after = self._with(after, ghosts)
                now = self._views.view(after)
        if now.ghosts.asked or self._ground.oracles.stops(now):
            ghosts = self._ground.oracles.remember_asking(self._views.view(before), now, actor, asks=self._asks(step))
            if ghosts is not now.ghosts:
                after = self._with(after, ghosts)
                now = self._views.view(after)
        if ASSETS in step.wrote:
            after = self._promised(self._views.view(before), now)
            now = self._views.view(after)
        damaged: frozenset[int] = frozenset()
        try:
            if step.wrote:
                damaged = self._check(self._views.view(before), now, actor, step)
        except ViolationError as error:
            return after, error
        if damaged - now.ghosts.damaged:
            after = self._with(after, replace(now.ghosts, damaged=now.ghosts.damaged | damaged))
        return after, None

    def check(self) -> None:
        """Let the run go on undisturbed to its end, and look at what it leaves."""
        try:
            self._ground.ends.settle()
        finally:
            self._ground.execution = self._execution

    def _promised(self, before: View, now: View) -> World:
        """The state when it is remembered what keys rows have left."""
        meant, boot = before.truth.rows, now.clock[0]
        rows = [(number, row.key) for number, row in before.rows.items() if number in meant]
        left = [(key, meant[number]) for number, key in rows if number not in now.rows or now.rows[number].key != key]
        grace_seconds = self._ground.context.settings.grace_seconds
        ghosts = now.ghosts.leave(left)
        if left and grace_seconds:
            ghosts = ghosts.promise(left, now=boot, until=boot + grace_seconds)
        return now.world if ghosts is now.ghosts else self._with(now.world, ghosts)

    def _asks(self, step: Step) -> bool:
        """Whether a step was a question to the ledger of how the run stands."""
        return any(index == self._views.runs for index, _ in step.reads)

    def _with(self, world: World, ghosts: Ghosts) -> World:
        at = self._at_ghosts
        return (*world[:at], self._worlds.intern(at, ghosts, ghosts), *world[at + 1 :])

    def _check(self, before: View, now: View, actor: str, step: Step) -> frozenset[int]:
        oracles, tool = self._ground.oracles, actor in self._ground.oracles.tools
        rows, ledger = ASSETS in step.wrote, MOVES in step.wrote
        objects = any(name.startswith(OBJECT) for name in step.wrote)
        damaged: frozenset[int] = frozenset()
        if objects and tool and step.told.startswith(_DELETE):
            damaged = oracles.check_delete(now, step.told.removeprefix(_DELETE).partition("  <- ")[0], actor)
        if objects and tool:
            oracles.check_copy(before, now)
        if rows or objects:
            self._check_now(now)
        if (rows or ledger) and tool:
            oracles.check_ledger(before, now, actor)
        if ledger:
            oracles.check_leases(before, now)
            oracles.check_steering(before, now)
        if VISITS in step.wrote:
            oracles.check_visits(now)
        if self._ground.behaviour.room is not None and (ledger or objects):
            oracles.check_mark(now, step.told)
        return damaged

    def _check_now(self, now: View) -> None:
        numbers = tuple(self._worlds.number(now.world, index) for index in (self._views.assets, self._views.truth, ALL_OBJECTS))
        numbers = (*numbers, hash(frozenset((key, asset) for key, asset, until in now.ghosts.promised if until >= now.clock[0])))
        if numbers in self._sound:
            return
        self._ground.oracles.check(
            {number: row.key for number, row in now.rows.items()}, now.contents(), now.truth, now.ghosts, now.clock[0]
        )
        self._sound.add(numbers)
