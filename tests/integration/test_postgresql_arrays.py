"""What PostgreSQL is asked and told with arrays is what other databases are told value by value."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import CHAR, Column, Engine, LargeBinary, MetaData, Select, String, Table, Uuid, insert, select, text

from app.arrays import among
from app.clock import BootClock
from app.database import MICROSECONDS, open_engine, transaction
from app.ledger import recording
from app.ledger.moves import MoveLedger
from app.ledger.plans import PlanLedger
from app.ledger.records import Lease, Move, Outcome, Run
from app.ledger.runs import RunLedger
from app.object_keys import Equivalence, Template
from app.object_store import ObjectInfo
from app.pipeline import FIRST_STAGES
from app.planning import Rules
from app.schema import create_ledger, moves
from app.states import MoveState, ParkedReason
from app.testing.versions import CONDITIONAL
from tests.builders import make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HINT_US = 60 * MICROSECONDS
CLOCKED = ("due_at", "not_before", "switched_at", "grace_from", "intent_at", "lease_until")  # compared as times from updated_at


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """An empty PostgreSQL database with a ledger."""
    made = open_engine(postgres_url)
    create_ledger(made)
    yield made
    made.dispose()


def _claimed(engine: Engine, table: str) -> tuple[MoveLedger, Lease, list[Move]]:
    """Five moves of a new run, all under one lease."""
    capabilities = CONDITIONAL.capabilities()
    run: Run = RunLedger(engine).create(
        bucket="assets", table_name=table, settings={}, capabilities=dataclasses.asdict(capabilities), rows=5, user="tester", version="0"
    )
    rules = Rules(bucket=table, template=Template.parse("{key}.moved", named=False), equivalence=Equivalence.of(capabilities))
    plans = [make_plan(number, rules=rules, client="ü'\\") for number in range(1, 6)]
    planned = PlanLedger(engine, hint_seconds=60, first_stage="copy").insert_page(run, plans, in_place=set(), cursor="[5]", grace_seconds=7)
    assert planned is not None
    ledger = MoveLedger(engine, hint_seconds=60, first_stages=FIRST_STAGES)
    lease, held = ledger.claim(run, planned.copy_ids, stage="copy", lease_seconds=30, store_time=1000, clock=BootClock())
    return ledger, lease, held


def _outcomes(held: Sequence[Move]) -> list[Outcome]:
    """One of each kind: copied, parked, waiting, unanswered, switched with stamps."""
    one, two, three, four, five = held
    found = ObjectInfo(key=one.old_key, etag="e" * 32, size=2**40, last_modified=1234, version_id="v1")
    copied = one._replace(state=MoveState.COPIED, source=found, copy=dataclasses.replace(found, key=one.new_key), claims=0)
    parked = two._replace(state=MoveState.PARKED, parked_from=two.state, reason=ParkedReason.DENIED, detail="{}, NULL \"'\\ ü")
    switched = copied._replace(id=five.id, row_id=five.row_id, state=MoveState.RENAMED, new_hash=five.new_hash)
    return [
        Outcome(move=copied, hinted=True),
        Outcome(move=parked),
        Outcome(move=three._replace(waiting=True, looks=3, detail=""), due_in=2.5),
        Outcome(move=four, keep_lease=True),
        Outcome(move=switched, due_in=1.0, stamp=frozenset({"switched_at", "grace_from"})),
    ]


def _rows(engine: Engine, run_no: int) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(select(moves).where(moves.c.run_no == run_no).order_by(moves.c.id)).mappings()]
    for row in rows:
        for name in CLOCKED:
            row[name] = row[name] and round((row[name] - row["updated_at"]) / MICROSECONDS + 0.25)  # seconds; some time passes between
        for name in ("run_no", "updated_at", "old_hash", "new_hash", "live_hash", "lease_token"):
            row[name] = row[name] is not None
    return rows


def test_outcomes_written_together_are_those_written_one_by_one(engine: Engine) -> None:
    """All columns, of every kind of outcome."""
    ledger, lease, held = _claimed(engine, "together")
    _, other_lease, other_held = _claimed(engine, "singly")

    written = ledger.record(lease, _outcomes(held))
    with transaction(engine) as connection:
        rows = [recording.row_of(other_lease, one, first_stages=FIRST_STAGES, hint_us=HINT_US) for one in _outcomes(other_held)]
        recording.write(connection, rows)

    assert written == {(move.run_no, move.id) for move in held}
    assert _rows(engine, held[0].run_no) == _rows(engine, other_held[0].run_no)
    assert [row["state"] for row in _rows(engine, held[0].run_no)] == ["copied", "parked", "planned", "planned", "renamed"]


def _alike(held: Sequence[Move], kind: int, *, replanned: bool) -> list[Outcome]:
    """The outcome *kind* of ``_outcomes`` for each move, under its own keys or under new ones."""
    model = _outcomes(held)[kind]
    kept = ("id", "row_id", "client", "generation", "old_key", "new_key", "old_hash", "new_hash")
    return [
        dataclasses.replace(
            model,
            move=model.move._replace(**{name: getattr(move, name) for name in kept})
            if not replanned
            else model.move._replace(id=move.id, row_id=move.row_id, new_key=f"n/{move.id}", new_hash=bytes([move.id]) * 32),
        )
        for move in held
    ]


@pytest.mark.parametrize("replanned", [False, True])
@pytest.mark.parametrize("kind", range(5))
def test_outcomes_with_much_in_common_are_those_written_one_by_one(engine: Engine, kind: int, replanned: bool) -> None:  # noqa: FBT001 - pytest's
    """What all have in common is said once, and keys that nobody changed are not said at all: the rows are the same."""
    ledger, lease, held = _claimed(engine, "together")
    _, other_lease, other_held = _claimed(engine, "singly")

    ledger.record(lease, _alike(held, kind, replanned=replanned)[:4])
    ledger.record(lease, _alike(held, kind, replanned=replanned)[4:])
    # The other run's moves want the same keys: they are freed before.
    rows = _rows(engine, held[0].run_no)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE rekey_moves SET live_hash = NULL WHERE run_no = :no"), {"no": held[0].run_no})
        singly = [
            recording.row_of(other_lease, one, first_stages=FIRST_STAGES, hint_us=HINT_US)
            for one in _alike(other_held, kind, replanned=replanned)
        ]
        recording.write(connection, singly)

    assert rows == _rows(engine, other_held[0].run_no)
    assert [row["new_key"] for row in rows] == [f"n/{move.id}" if replanned else move.new_key for move in held]


def test_keys_that_were_recorded_and_taken_back_are_written_again(engine: Engine) -> None:
    """Once an outcome under a lease had other keys than were claimed, each later one says its own: the ledger may have either."""
    ledger, lease, held = _claimed(engine, "twice")
    elsewhere = [move._replace(new_key=f"n/{move.id}", new_hash=bytes([move.id]) * 32) for move in held]
    ledger.record(lease, [Outcome(move=move, keep_lease=True) for move in elsewhere])
    ledger.record(lease, [Outcome(move=move) for move in held])

    assert [row["new_key"] for row in _rows(engine, held[0].run_no)] == [move.new_key for move in held]


def test_claims_and_intents_write_no_index(engine: Engine) -> None:
    """PostgreSQL keeps the rows' next versions on their pages (HOT), unless there is no room: that costs half (docs/scale.md)."""
    ledger, lease, held = _claimed(engine, "hot")
    ledger.renew(lease, held, seconds=50)
    ledger.record(lease, [Outcome(move=move, stage="copy", keep_lease=True, stamp=frozenset({"intent_at"})) for move in held])

    with engine.connect() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        connection.commit()
        count = text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'rekey_moves'")
        assert connection.execute(count).one() == (3 * len(held), 3 * len(held))


def test_outcomes_of_a_lost_lease_are_void(engine: Engine) -> None:
    """Those whose lease is another's by now are not written, and are not among the written."""
    ledger, lease, held = _claimed(engine, "lost")
    with transaction(engine) as connection:
        connection.execute(text("UPDATE rekey_moves SET lease_token = 'other' WHERE id = 2"))

    written = ledger.record(lease, _outcomes(held))

    assert written == {(move.run_no, move.id) for move in held if move.id != 2}
    assert [row["state"] for row in _rows(engine, held[0].run_no)] == ["copied", "planned", "planned", "planned", "renamed"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (String(20), ["a", "it's", 'q"\\', "{a,b}", "NULL", "ü", ""]),
        (CHAR(6), ["a", "b ", "c"]),
        (LargeBinary(), [b"\x00\xff", b"\\x00", b""]),
        (Uuid(), [uuid.UUID(int=1), uuid.UUID(int=2**127)]),
    ],
)
def test_values_are_found_among_many(engine: Engine, kind: Any, values: list[object]) -> None:  # noqa: ANN401 - a column type
    """Each value finds its row, whatever is in it, and so does each again when the statement comes from the cache."""
    table = Table("t", MetaData(), Column("value", kind))
    table.create(engine)
    question: Select[Any]
    with transaction(engine) as connection:
        connection.execute(insert(table), [{"value": value} for value in [*values, *values[:1]]])
        for asked in (values[:1], values, [], values[1:2]):
            question = select(table.c.value).where(among(table.c.value, asked))
            found = list(connection.execute(question).scalars())

            assert sorted({str(value).rstrip() for value in found}) == sorted({str(value).rstrip() for value in asked})
            assert len(found) == len(asked) + (values[0] in asked)
