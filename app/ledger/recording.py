"""Outcomes as rows of rekey_moves, many at once: one statement with arrays on PostgreSQL, one statement a row elsewhere.

A fixed text with a parameter a column is prepared once, and planned, sent and carried out for all moves together (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, String, bindparam, case, column, func, literal, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from app.database import database_now
from app.ledger.records import Lease, Move, Outcome
from app.schema import moves
from app.states import OPEN_STATES, MoveState

_PLAIN = [name for name in Move.__slots__ if name not in {"run_no", "id", "row_id", "source", "copy", "suspect", "deaths"}]
_STAMPED = ("switched_at", "grace_from", "intent_at")
_SIDES = [f"{side}_{part}" for side in ("source", "copy") for part in ("etag", "size", "store_time", "version")]

# Every value that a row's statement is given, and its type; the moves' own columns have theirs.
_TYPES: Mapping[str, TypeEngine[Any]] = {
    **{f"v_{name}": moves.c[name].type for name in (*_PLAIN, *_SIDES, "live_hash", "stage", "suspect")},
    **{f"v_stamp_{name}": Integer() for name in _STAMPED},
    **{name: Integer() for name in ("v_hints", "v_keep", "w_run_no")},
    **{name: BigInteger() for name in ("v_due_us", "v_wait_us", "w_id")},
    "w_token": String(),
}


def values_of(lease: Lease, outcome: Outcome, *, first_stages: Mapping[MoveState, str], hint_us: int) -> dict[str, Any]:
    """What *outcome* makes of its move's row, as ``write`` takes it."""
    row = outcome.move.to_row()
    open_now = outcome.move.state in OPEN_STATES
    due_us = hint_us if outcome.hinted else int(outcome.due_in * 1_000_000)
    values = {f"v_{name}": row[name] for name in (*_PLAIN, *_SIDES)}
    values |= {f"v_stamp_{name}": int(name in outcome.stamp) for name in _STAMPED}
    return values | {
        "v_live_hash": row["new_hash"] if open_now else None,
        "v_stage": (outcome.stage or first_stages[outcome.move.state]) if open_now else None,
        "v_hints": int(outcome.hinted),
        "v_suspect": row["suspect"] and open_now and outcome.due_in > 0,
        "v_keep": int(outcome.keep_lease),
        "v_due_us": due_us,
        "v_wait_us": 0 if outcome.hinted else due_us,
        "w_run_no": row["run_no"],
        "w_id": row["id"],
        "w_token": lease.token,
    }


def write(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write *rows* one by one; the caller has locked them."""
    connection.execute(_BY_ROW, rows)


def write_held(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, int]]:
    """Write those of *rows* whose lease still holds, and give them as (run number, move id). PostgreSQL only."""
    ordered = sorted(rows, key=lambda row: (row["w_run_no"], row["w_id"]))
    arrays = {name: [row[name] for row in ordered] for name in _TYPES}
    return {(run_no, move_id) for run_no, move_id in connection.execute(_BY_ARRAYS, arrays)}


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
    arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in _TYPES.items()]
    rows = func.unnest(*arrays).table_valued(*(column(name, kind) for name, kind in _TYPES.items()), name="given").render_derived()
    return _statement(lambda name: rows.c[name]).returning(moves.c.run_no, moves.c.id)


_BY_ROW = _statement(lambda name: bindparam(name, type_=_TYPES[name]))
_BY_ARRAYS = _with_arrays()
