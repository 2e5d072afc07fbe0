"""What the resources of a ground are, and how they are set to what they were: tables, objects, queues, clocks."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

from app.pipeline import BY_NAME, SEED
from tests.model.committed import LOCKS
from tests.model.touching import JOURNAL, resource_of
from tests.model.worlds import CLOCK

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from app.pipeline import MoveStage
    from app.testing.faults import DelayedRequest
    from tests.model.committed import Held
    from tests.model.ground import Ground
    from tests.model.oracles import Ghosts
    from tests.model.truth import Truth

    Value = tuple[Hashable, Any]

TABLE, QUEUE = "table ", "queue "
NEVER = float("inf")
UPLOADS, VERSIONS, DELAYED, TRUTH, ROW_DUE, GHOSTS = "uploads", "versions", "delayed", "truth", "due row", "ghosts"
OTHERS = (UPLOADS, VERSIONS, DELAYED, TRUTH, ROW_DUE, GHOSTS, LOCKS)
STAGES = (SEED.name, *BY_NAME)
_FOR_PEOPLE = "updated_at"  # a column that nobody here asks for: it stands still


def stage_name(stage: MoveStage | None) -> str:
    """What a message is for; None: the seed."""
    return stage.name if stage else SEED.name


class Contents:
    """The place that a ground's schedules are played in."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._columns: dict[str, int] = {}  # how many a table has
        self._stilled: set[str] = set()  # tables with a column for people
        self._requests: dict[int, tuple[DelayedRequest, tuple[str, str, int]]] = {}  # kept, so that their ids stay theirs

    def names(self) -> Sequence[str]:
        """Every table, object and queue, and whatever else there is."""
        if not self._columns:
            self._read_columns()
        objects = {resource_of(name) for name in dict.keys(self._ground.store._bucket._versions)}
        return [CLOCK, *self._columns, *sorted(objects), *(f"{QUEUE}{stage}" for stage in STAGES), *OTHERS]

    def _read_columns(self) -> None:
        found = self._ground.raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (name,) in found:
            columns = [str(column[1]) for column in self._ground.raw.execute(f"PRAGMA table_info({name})")]
            self._columns[f"{TABLE}{name}"] = len(columns)
            if _FOR_PEOPLE in columns:
                self._stilled.add(f"{TABLE}{name}")

    def value(self, name: str) -> Value | None:
        """What a resource is; None: nothing."""
        kind, _, rest = name.partition(" ")
        found: Value | None = getattr(self, f"_value_of_{kind}")(rest)
        return found

    def load(self, name: str, value: Any) -> None:  # noqa: ANN401 - as ``value`` gave it
        """Make a resource what it was."""
        kind, _, rest = name.partition(" ")
        getattr(self, f"_load_{kind}")(rest, value)

    # What is read and loaded, kind by kind

    def _value_of_table(self, name: str) -> Value | None:
        raw = self._ground.raw
        if f"{TABLE}{name}" in self._stilled:
            raw.execute(f"UPDATE {name} SET {_FOR_PEOPLE} = 0 WHERE {_FOR_PEOPLE} != 0")
        rows = tuple(raw.execute(f"SELECT * FROM {name}"))
        return (rows, rows) if rows else None

    def _load_table(self, name: str, rows: Any) -> None:  # noqa: ANN401 - or None
        raw = self._ground.raw
        raw.execute(f"DELETE FROM {name}")
        if rows:
            raw.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * self._columns[f'{TABLE}{name}'])})", rows)

    def _value_of_object(self, name: str) -> Value | None:
        versions: dict[str, Any] = self._ground.store._bucket._versions
        there = tuple((each, tuple(dict.get(versions, each, ()))) for each in self._names_of(name))
        return (repr(there), there) if there else None

    def _load_object(self, name: str, there: Any) -> None:  # noqa: ANN401 - or None
        versions = self._ground.store._bucket._versions
        for each in self._names_of(name):
            dict.pop(versions, each)
        for each, of_it in there or ():
            dict.__setitem__(versions, each, list(of_it))

    def _names_of(self, name: str) -> list[str]:
        names = dict.keys(self._ground.store._bucket._versions)
        return sorted(each for each in names if each.startswith(name)) if name == JOURNAL else [name] if name in names else []

    def _value_of_queue(self, name: str) -> Value | None:
        messages = tuple(tuple(ids) for stage, ids in self._ground.messages if stage_name(stage) == name)
        return (messages, messages) if messages else None

    def _load_queue(self, name: str, messages: Any) -> None:  # noqa: ANN401 - or None
        others = [message for message in self._ground.messages if stage_name(message[0]) != name]
        there = [*others, *((BY_NAME.get(name), list(ids)) for ids in messages or ())]
        self._ground.messages[:] = sorted(there, key=lambda message: STAGES.index(stage_name(message[0])))

    def _value_of_clock(self, _: str) -> Value:
        clocks = self._ground.clock.boot(), self._ground.database_clock.skew
        return clocks, clocks

    def _load_clock(self, _: str, clocks: Any) -> None:  # noqa: ANN401 - two numbers
        self._ground.clock._boot, self._ground.database_clock.skew = clocks

    def _value_of_truth(self, _: str) -> Value:
        return self._ground.truth.key(), self._ground.truth.copy()

    def _load_truth(self, _: str, truth: Truth) -> None:
        self._ground.truth = truth.copy()

    def _value_of_ghosts(self, _: str) -> Value:
        return self._ground.oracles.ghosts, self._ground.oracles.ghosts

    def _load_ghosts(self, _: str, ghosts: Ghosts) -> None:
        self._ground.oracles.ghosts = ghosts

    def _value_of_locks(self, _: str) -> Value | None:
        locks = tuple(sorted(self._ground.transactions.locks.items()))
        return (locks, locks) if locks else None

    def _load_locks(self, _: str, locks: Held | None) -> None:
        self._ground.transactions.locks.clear()
        self._ground.transactions.locks.update(locks or ())

    def _value_of_uploads(self, _: str) -> Value | None:
        store = self._ground.store
        number = next(store._upload_numbers)
        store._upload_numbers = itertools.count(number)
        return ((number, repr(store._uploads)), (number, copy.deepcopy(store._uploads))) if number > 1 else None

    def _load_uploads(self, _: str, value: Any) -> None:  # noqa: ANN401 - or None
        number, uploads = value or (1, {})
        self._ground.store._upload_numbers, self._ground.store._uploads = itertools.count(number), copy.deepcopy(uploads)

    def _value_of_versions(self, _: str) -> Value | None:
        written = self._ground.store._bucket._written
        return (written, written) if written else None

    def _load_versions(self, _: str, written: int | None) -> None:
        self._ground.store._bucket._written = written or 0

    def _value_of_due(self, _: str) -> Value | None:
        return None if self._ground.row_due == NEVER else (self._ground.row_due, self._ground.row_due)

    def _load_due(self, _: str, due: float | None) -> None:
        self._ground.row_due = NEVER if due is None else due

    def _value_of_delayed(self, _: str) -> Value | None:
        delayed = tuple(self._ground.store.delayed)
        return (tuple(map(self._made_by, delayed)), delayed) if delayed else None

    def _load_delayed(self, _: str, delayed: Any) -> None:  # noqa: ANN401 - or None
        self._ground.store.delayed[:] = delayed or ()

    def _made_by(self, request: DelayedRequest) -> tuple[str, str, int]:
        """What a request that was held up is: who stood there and sent the same, has sent the same."""
        at = self._ground.execution.at if self._ground.execution else 0
        return self._requests.setdefault(id(request), (request, (request.name, request.key, at)))[1]
