"""Outcomes as rows of rekey_moves, many at once: one statement with arrays on PostgreSQL, one statement a row elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, String, bindparam, case, literal, update
from sqlalchemy.types import TypeEngine

from app.arrays import side_by_side
from app.database import MICROSECONDS, database_now
from app.ledger.records import Lease, Move, Outcome
from app.object_store import ObjectInfo
from app.schema import moves
from app.states import OPEN_STATES, MoveState

_PLAIN = [name for name in Move.__slots__ if name not in {"run_no", "id", "row_id", "source", "copy", "follows", "suspect", "deaths"}]
_STAMPED = ("switched_at", "grace_from", "intent_at")
_SIDES = [f"{side}_{part}" for side in ("source", "copy") for part in ("etag", "size", "store_time", "version")]
_OF_MOVE = attrgetter(*_PLAIN)
_OF_INFO = attrgetter("etag", "size", "last_modified", "version_id")
_NO_INFO = (None, None, None, None)

# The values of a row in the order of ``row_of``, with their types.
_TYPES: Mapping[str, TypeEngine[Any]] = {
    **{f"v_{name}": moves.c[name].type for name in (*_PLAIN, *_SIDES)},
    **{f"v_stamp_{name}": Integer() for name in _STAMPED},
    **{f"v_{name}": moves.c[name].type for name in ("live_hash", "stage", "hints", "suspect")},
    "v_keep": Integer(),
    **{name: BigInteger() for name in ("v_due_us", "v_wait_us")},
    "w_run_no": Integer(),
    "w_id": BigInteger(),
    "w_token": String(),
}
# psycopg analyses a text of more than 4 KiB anew each time.
_SHORT = {name: f"p{number}" for number, name in enumerate(_TYPES)}


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
        move.new_hash if open_now and move.new_key and not move.follows else None,  # a name that gave no key wants none
        (outcome.stage or first_stages[move.state]) if open_now else None,
        int(outcome.hinted),
        move.suspect and open_now and outcome.due_in > 0,
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


def write_held(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> set[tuple[int, int]]:
    """Write those of *rows* whose lease still holds, and give them as (run number, move id). PostgreSQL only."""
    columns = zip(*sorted(rows, key=lambda row: row[-3:]), strict=True)
    return {(run_no, move_id) for run_no, move_id in connection.execute(_BY_ARRAYS, dict(zip(_SHORT.values(), columns, strict=True)))}


def _side(info: ObjectInfo | None) -> tuple[Any, ...]:
    return _NO_INFO if info is None else _OF_INFO(info)


def _statement(given: Callable[[str], Any]) -> Any:  # noqa: ANN401 - an Update
    now = database_now()
    keep = given("v_keep") == literal(1)
    values: dict[str, Any] = {name: given(f"v_{name}") for name in (*_PLAIN, *_SIDES, "live_hash", "stage", "hints", "suspect")}
    for name in _STAMPED:
        values[name] = case((given(f"v_stamp_{name}") == literal(1), now), else_=given(f"v_{name}"))
    values |= {
        "lease_token": case((keep, moves.c.lease_token), else_=None),
        "lease_until": case((keep, moves.c.lease_until), else_=0),
        "lease_kept": keep,
        "due_at": case((keep, moves.c.lease_until), else_=now + given("v_due_us")),
        "not_before": now + given("v_wait_us"),
        "updated_at": now,
    }
    held = (moves.c.run_no == given("w_run_no"), moves.c.id == given("w_id"), moves.c.lease_token == given("w_token"))
    return update(moves).where(*held).values(values)


def _with_arrays() -> Any:  # noqa: ANN401 - an Update
    rows = side_by_side({_SHORT[name]: kind for name, kind in _TYPES.items()})
    return _statement(lambda name: rows.c[_SHORT[name]]).returning(moves.c.run_no, moves.c.id)


_BY_ROW = _statement(lambda name: bindparam(name, type_=_TYPES[name]))
_BY_ARRAYS = _with_arrays()
