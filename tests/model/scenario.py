"""What a scenario is: where its schedules begin, and who takes part."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.pipeline import BY_NAME
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.model.chance import no_chance
from tests.model.choices import CRASH, Bounds
from tests.model.execution import AUDITED
from tests.model.explorer import Onlooker, explore, replay
from tests.model.ground import LOST_REPLY, Ground
from tests.model.own import see_for
from tests.model.parties import Parties
from tests.model.schedules import Found, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.model.execution import Execution

O, N = "up/1.png", "clients/7/assets/1.png"  # noqa: E741 - as the contract calls them
STORES = {"conditional": CONDITIONAL, "like_minio": LIKE_MINIO}
COPIES = 4  # of the copy stage at once: two tasks with two each, so that writes of one task are under way together
ANY = ("like_minio",)  # where no condition is ever refused, as of messages, leases and clocks: both stores come to the same states


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What can hurt where the application breaks what is asked of it; the words of the safety page."""

    happens: str
    costs: str
    closes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """*stage*: whose message lies ready when the parties begin (none: no message); what comes before it has been done undisturbed."""

    name: str
    stage: str
    parties: Callable[[Parties], None]
    before: Callable[[Ground], None] = lambda _ground: None
    seconds: float = 0.0  # since the stage before
    settings: Mapping[str, object] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=Bounds)
    request_faults: tuple[str, ...] = (CRASH, LOST_REPLY)
    commit_faults: tuple[str, ...] = ()
    stores: tuple[str, ...] = tuple(STORES)
    differs: Mapping[str, Any] = field(default_factory=dict)  # what the store does otherwise
    breaks: str = ""  # of what is asked of the application; then nothing is destroyed outside of the listed windows
    window: Window | None = None  # what that leaves open on a store that ignores conditions
    any_store: bool = False  # on every store
    stepwise: bool = False  # each statement of a transaction that writes is a step of its own, at READ COMMITTED (H20)

    def ground(self, store: str) -> Ground:
        """The world at the moment at which all schedules begin."""
        behaviour = replace(STORES[store], **self.differs)
        settings = {"copy_concurrency": COPIES, **self.settings}
        ground = Ground(Path(), behaviour=behaviour, settings=settings, request_faults=self.request_faults)
        ground.commit_faults, ground.lenient, ground.any_store = self.commit_faults, bool(self.breaks), self.any_store
        see_for(ground)
        ground.asset(1)
        self.before(ground)
        if self.stage == "seed":
            ground.messages.append((None, []))
        elif self.stage != "none":
            work = BY_NAME[self.stage]
            ground.seed()
            for stage in BY_NAME.values():
                if stage is work:
                    break
                ground.do(stage.name)
            ids = [move.id for move in ground.moves() if move.state is work.state]
            ground.later(self.seconds)
            ground.messages[:] = [(work, ids)]
        ground.keep()
        ground.transactions.stepwise = self.stepwise
        return ground

    def explore(
        self, store: str, *, bounds: Bounds | None = None, most: int | None = None, audited: int = AUDITED
    ) -> tuple[Report, Ground]:
        """Play all schedules within the bounds."""
        ground = self.ground(store)
        with self._no_chance(ground):
            return explore(ground.place, self._play(ground), bounds=bounds or self.bounds, most=most, audited=audited), ground

    def replay(self, store: str, choices: Sequence[int]) -> Found | None:
        """Play one schedule again."""
        ground = self.ground(store)
        with self._no_chance(ground):
            return replay(ground.place, self._play(ground), choices)

    @contextmanager
    def _no_chance(self, ground: Ground) -> Iterator[None]:
        with no_chance(ground.tokens, sleep=ground.sleep), ground.transactions.installed():
            yield

    def _play(self, ground: Ground) -> Callable[[Execution], Onlooker]:
        def play(execution: Execution) -> Onlooker:
            onlooker = ground.play(execution)
            self.parties(Parties(ground, execution))
            return onlooker

        return play
