"""What a state of the world means to those who look on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.ledger.records import JOURNAL_MARK
from tests.model.contents import GHOSTS, TRUTH
from tests.model.oracles import Ghosts
from tests.model.touching import JOURNAL
from tests.model.worlds import CLOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.model.ground import Ground
    from tests.model.truth import Truth
    from tests.model.worlds import World, Worlds

ASSETS, MOVES, RUNS, VISITS = "table assets", "table rekey_moves", "table rekey_runs", "table rekey_visits"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the assets table."""

    client: int
    key: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """A row of rekey_moves."""

    no: tuple[int, int]
    row: int
    state: str
    old_key: str
    new_key: str
    lease_token: str | None
    lease_until: int


@dataclass(frozen=True, slots=True)
class Steered:
    """What the row of a run in rekey_runs says to the stages."""

    state: str
    held_until: int
    mark: str  # of its whole journal; empty: none


@dataclass(slots=True)
class Views:
    """Makes views; what was read out of a table once is kept."""

    ground: Ground
    worlds: Worlds
    _rows: dict[int, Mapping[int, Row]] = field(default_factory=dict)
    _moves: dict[int, Sequence[Ledger]] = field(default_factory=dict)
    _columns: dict[str, int] = field(default_factory=dict)
    _steered: dict[int, Mapping[int, Steered]] = field(default_factory=dict)
    _of_runs: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    assets: int = 0
    moves: int = 0
    truth: int = 0

    def __post_init__(self) -> None:
        columns = self.ground.raw.execute("PRAGMA table_info(rekey_moves)").fetchall()
        self._columns = {str(column[1]): number for number, column in enumerate(columns)}
        columns = self.ground.raw.execute("PRAGMA table_info(rekey_runs)").fetchall()
        self._of_runs = {str(column[1]): number for number, column in enumerate(columns)}
        self.assets, self.moves, self.truth, self.runs = map(self.worlds.index, (ASSETS, MOVES, TRUTH, RUNS))

    def view(self, world: World) -> View:
        """A view of a state."""
        return View(world, self)

    def rows(self, number: int) -> Mapping[int, Row]:
        """The rows of the assets table."""
        if number not in self._rows:
            self._rows[number] = {row: Row(client, key) for row, client, key, *_ in self.worlds.of(number) or ()}
        return self._rows[number]

    def ledger(self, number: int) -> Sequence[Ledger]:
        """The rows of rekey_moves."""
        if number not in self._moves:
            self._moves[number] = [self._ledger(row) for row in self.worlds.of(number) or ()]
        return self._moves[number]

    def steered(self, number: int) -> Mapping[int, Steered]:
        """The rows of rekey_runs by their numbers."""
        if number not in self._steered:
            self._steered[number] = {steered[0]: steered[1] for steered in map(self._run, self.worlds.of(number) or ())}
        return self._steered[number]

    def _run(self, row: Sequence[Any]) -> tuple[int, Steered]:
        no, state, held_until, settings = (row[self._of_runs[name]] for name in ("no", "state", "deletes_held_until", "settings"))
        return no, Steered(state, held_until, json.loads(settings).get(JOURNAL_MARK) or "")

    def _ledger(self, row: Sequence[Any]) -> Ledger:
        names = ("run_no", "id", "row_id", "state", "old_key", "new_key", "lease_token", "lease_until")
        run_no, number, row_id, *more = (row[self._columns[name]] for name in names)
        return Ledger((run_no, number), int(row_id[1:-1]), *more)


@dataclass(frozen=True, slots=True)
class View:
    """One state."""

    world: World
    views: Views

    @property
    def rows(self) -> Mapping[int, Row]:
        """The rows of the assets table by id."""
        return self.views.rows(self.world[self.views.assets])

    @property
    def moves(self) -> Sequence[Ledger]:
        """The rows of rekey_moves."""
        return self.views.ledger(self.world[self.views.moves])

    @property
    def runs(self) -> Mapping[int, Steered]:
        """The rows of rekey_runs by their numbers."""
        return self.views.steered(self.world[self.views.runs])

    @property
    def clock(self) -> tuple[float, float]:
        """The boot clock, and how much the database's was set forward."""
        found: tuple[float, float] = self.views.worlds.value(self.world, CLOCK)
        return found

    @property
    def truth(self) -> Truth:
        """What the application knows to be so."""
        found: Truth = self.views.worlds.value(self.world, TRUTH)
        return found

    @property
    def ghosts(self) -> Ghosts:
        """What is remembered of the schedule."""
        found: Ghosts = self.views.worlds.value(self.world, GHOSTS)
        return found

    @property
    def visits(self) -> set[tuple[int, int]]:
        """The moves that the operator's own stage is still to see."""
        return {(row[0], row[1]) for row in self.views.worlds.value(self.world, VISITS) or ()}

    def contents(self) -> dict[str, bytes]:
        """All objects."""
        there = (item for _, versions in self.views.worlds.objects(self.world) for item in versions)
        return {name: versions[-1].body for name, versions in there if versions[-1].body is not None}

    @property
    def journal(self) -> list[bytes]:
        """The bodies of the journal's objects."""
        return [body for name, body in self.contents().items() if name.startswith(f"{JOURNAL}journal/")]

    def object_at(self, key: str) -> bytes | None:
        """What is at a key."""
        return self.contents().get(self.views.ground.behaviour.name(key))
