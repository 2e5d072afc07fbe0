"""Outcomes as rows of rekey_moves, many at once: one statement with arrays on PostgreSQL, one statement a row elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, String, bindparam, case, literal, update
from sqlalchemy.types import TypeEngine

from app.arrays import side_by_side
from app.database import MICROSECONDS, database_now
from app.ledger.lease_statements import due_after
from app.ledger.records import Lease, Move, Outcome
from app.object_store import ObjectInfo
from app.schema import moves
from app.states import OPEN_STATES, MoveState

_KEYS = ("client", "generation", "old_key", "new_key", "old_hash", "new_hash")  # as planned: most outcomes leave them as they are
_PLAIN = [name for name in Move._fields if name not in {"run_no", "id", "row_id", "source", "copy", "follows", "suspect", "deaths"}]
_STAMPED = ("switched_at", "grace_from", "intent_at")
_SIDES = [f"{side}_{part}" for side in ("source", "copy") for part in ("etag", "size", "store_time", "version")]
_OF_MOVE = attrgetter(*_PLAIN)
keys_of = attrgetter(*_KEYS)
_OF_INFO = attrgetter("etag", "size", "last_modified", "version_id")
_NO_INFO = (None, None, None, None)

# Arrays in any case: by a single run or lease the planner would go through all of the run's moves for the few that have it.
_WHICH: Mapping[str, TypeEngine[Any]] = {"w_run_no": Integer(), "w_id": BigInteger(), "w_token": String()}
# The values of a row in the order of ``row_of``, with their types.
_TYPES: Mapping[str, TypeEngine[Any]] = {
    **{f"v_{name}": moves.c[name].type for name in (*_PLAIN, *_SIDES)},
    **{f"v_stamp_{name}": Integer() for name in _STAMPED},
    **{f"v_{name}": moves.c[name].type for name in ("stage", "hints", "suspect")},
    **{name: Integer() for name in ("v_is_live", "v_keep")},
    **{name: BigInteger() for name in ("v_due_us", "v_wait_us")},
    **_WHICH,
}
# psycopg analyses a text of more than 4 KiB anew each time.
_SHORT = {name: f"p{number}" for number, name in enumerate(_TYPES)}
_OF_KEYS = frozenset(f"v_{name}" for name in _KEYS)


def row_of(lease: Lease, outcome: Outcome, *, first_stages: Mapping[MoveState, str], hint_us: int) -> tuple[Any, ...]:
    """What *outcome* makes of its move's row, as ``write`` takes it."""
    move = outcome.move
    open_now = move.state in OPEN_STATES
    due_us = hint_us if outcome.hinted else int(outcome.due_in * MICROSECONDS)
    return (
        *_OF_MOVE(move),
        *_side(move.source),
        *_side(move.copy),
        *(int(name in outcome.stamp) for name in _STAMPED),
        (outcome.stage or first_stages[move.state]) if open_now else None,
        int(outcome.hinted),
        move.suspect and open_now and outcome.due_in > 0,
        int(open_now and bool(move.new_key) and not move.follows),  # a name that gave no key wants none
        int(outcome.keep_lease),
        due_us,
        0 if outcome.hinted else due_us,
        move.run_no,
        move.id,
        lease.token,
    )


def write(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write *rows* one by one; the caller has locked them."""
    connection.execute(_BY_ROW, [dict(zip(_TYPES, row, strict=True)) for row in rows])


def write_held(connection: Connection, rows: Sequence[tuple[Any, ...]], *, replanned: bool) -> set[tuple[int, int]]:
    """Write those of *rows* whose lease still holds, and give them as (run number, move id). PostgreSQL only.

    *replanned*: whether any of them may have other keys than the ledger has. What all have in common is said once.
    """
    columns = dict(zip(_TYPES, zip(*sorted(rows, key=lambda row: row[-3:]), strict=True), strict=True))
    if not replanned:
        columns = {name: values for name, values in columns.items() if name not in _OF_KEYS}
    common = frozenset(name for name, values in columns.items() if name not in _WHICH and values.count(values[0]) == len(values))
    given = {_SHORT[name]: values[0] if name in common else values for name, values in columns.items()}
    return {(run_no, move_id) for run_no, move_id in connection.execute(_with_arrays(common, replanned=replanned), given)}


def _side(info: ObjectInfo | None) -> tuple[Any, ...]:
    return _NO_INFO if info is None else _OF_INFO(info)


def _statement(given: Callable[[str], Any], *, replanned: bool = True) -> Any:  # noqa: ANN401 - an Update
    now = database_now()
    keep = given("v_keep") == literal(1)
    changed = [name for name in _PLAIN if replanned or name not in _KEYS]
    values: dict[str, Any] = {name: given(f"v_{name}") for name in (*changed, *_SIDES, "stage", "hints", "suspect")}
    new_hash = given("v_new_hash") if replanned else moves.c.new_hash
    values["live_hash"] = case((given("v_is_live") == literal(1), new_hash), else_=None)
    for name in _STAMPED:
        values[name] = case((given(f"v_stamp_{name}") == literal(1), now), else_=given(f"v_{name}"))
    values |= {
        "lease_token": case((keep, moves.c.lease_token), else_=None),
        "lease_until": case((keep, moves.c.lease_until), else_=0),
        "lease_kept": keep,
        "due_at": case((keep, due_after(moves.c.lease_until)), else_=now + given("v_due_us")),
        "not_before": now + given("v_wait_us"),
        "updated_at": now,
    }
    held = (moves.c.run_no == given("w_run_no"), moves.c.id == given("w_id"), moves.c.lease_token == given("w_token"))
    return update(moves).where(*held).values(values)


@lru_cache(maxsize=256)  # some twenty are in use
def _with_arrays(common: frozenset[str], *, replanned: bool) -> Any:  # noqa: ANN401 - an Update
    """The statement that takes the values *common* to all rows once, and the others as an array each."""
    own = {name: kind for name, kind in _TYPES.items() if name not in common and (replanned or name not in _OF_KEYS)}
    rows = side_by_side({_SHORT[name]: kind for name, kind in own.items()})

    def given(name: str) -> Any:  # noqa: ANN401 - a parameter, or a column
        return rows.c[_SHORT[name]] if name in own else bindparam(_SHORT[name], type_=_TYPES[name])

    return _statement(given, replanned=replanned).returning(moves.c.run_no, moves.c.id)


_BY_ROW = _statement(lambda name: bindparam(name, type_=_TYPES[name]))
