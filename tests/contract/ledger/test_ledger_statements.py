"""Every statement of the ledger goes by an index on PostgreSQL, so that a run of any size costs what is asked; a new one is missed here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.clock import BootClock
from app.database import transaction
from app.fidelity_rules import Attribute
from app.ladder import Step
from app.ledger import losses, visits
from app.ledger.archiving import Archived, ArchiveLedger
from app.ledger.canaries import CanaryLedger
from app.ledger.depths import depth_of
from app.ledger.ladders import LadderLedger
from app.ledger.losses import LossLedger
from app.ledger.reading import ReportLedger
from app.ledger.records import Lease
from app.ledger.reopening import Selection
from app.ledger.rollbacks import has_switched
from app.ledger.saved_plans import past_rate
from app.ledger.sharing import is_a_siblings, never_left, sharing_new
from app.ledger.uploads import UploadLedger
from app.ledger.visits import VisitLedger
from app.states import MoveState, RunState
from app.window import bring_back, new_session, take_out
from tests.builders import BUCKET, World, make_run
from tests.contract.ledger.conftest import TABLE
from tests.contract.ledger.statements import explained, reading_all, sites

if TYPE_CHECKING:
    from pathlib import Path

OTHERS, MINE = 14_000, 1000  # moves of a dozen other runs, and of the run that is asked about
# Statements that no growing table has to do with: a row a run, a stage or a worker.
SMALL = {"steering", "throttles", "runs", "saved_plans", "outages"}
# Sent by MySQL, MariaDB and SQLite alone, where PostgreSQL has one statement for two; or for an answer that was lost; and ANALYZE.
ELSEWHERE = {("leases", "claim", 1), ("leases", "claim", 2), ("leases", "claim", 3), ("recording", "write", 0), ("moves", "held", 0)}
ELSEWHERE |= {("inserting", "insert_moves", 0), ("plans", "_analyze", 0)}


def test_statements_go_by_indexes_and_none_is_missed(postgres_url: str, tmp_path: Path) -> None:
    """Each is explained just before it is sent, on a ledger large enough for the planner to choose."""
    world = World(tmp_path, table=TABLE, url=postgres_url, settings={"grace_seconds": 0})
    _fill(world)
    with explained(world.engine) as plans:
        for part in (_ticks, _leases, _questions, _uploads, _visits, _steered, _ladder, _window, _rollback):
            part(world)
    world.engine.dispose()

    assert [plan for site in plans.values() for plan in reading_all(sorted(site))] == []
    recorded = plans["recording", "write_held", 0]
    assert [plan for plan in recorded if not re.search(r"Index Cond: \(\(run_no = .*\) AND \(id = ", plan)] == []  # not all of the run's
    missed = {site for site in sites() if site not in plans and site not in ELSEWHERE and site[0] not in SMALL}
    assert missed == set()


def _fill(world: World) -> None:
    for number in range(1, 7):
        world.add(number)
    world.seed()
    with transaction(world.engine) as connection:
        found = connection.exec_driver_sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'rekey_moves'")
        columns = [column for (column,) in found]
        others = {
            "run_no": f"CASE WHEN n <= {MINE} THEN run_no ELSE 1000 + n / 1000 END",
            "id": "n",
            "row_id": "'r' || n",
            "live_hash": "CASE WHEN mod(n, 10) < 8 THEN NULL ELSE sha256(n::text::bytea) END",
            "new_hash": "sha256(n::text::bytea)",
            "old_hash": "sha256(('o' || n)::bytea)",
            "stage": "CASE WHEN mod(n, 10) = 8 THEN 'delete' WHEN mod(n, 10) = 9 THEN 'rename' END",
            "state": "CASE WHEN mod(n, 10) < 8 THEN 'deleted' WHEN mod(n, 10) = 8 THEN 'renamed' ELSE 'copied' END",
            "due_at": "due_at + n::bigint * 1000000",
        }
        values = ", ".join(others.get(column, column) for column in columns)
        many = f"SELECT {values} FROM rekey_moves, generate_series(7, {OTHERS + MINE}) AS n WHERE id = 1"
        connection.exec_driver_sql(f"INSERT INTO rekey_moves ({', '.join(columns)}) {many}")
        connection.exec_driver_sql("INSERT INTO rekey_losses SELECT run_no, id, 'tags' FROM rekey_moves")
        connection.exec_driver_sql("INSERT INTO rekey_visits SELECT run_no, id, due_at, 0, NULL FROM rekey_moves")
        connection.exec_driver_sql(
            "INSERT INTO rekey_uploads (id, run_no, move_id, lease_token, object_key, upload_id, is_gone, begun_at)"
            " SELECT md5(run_no || '-' || id), run_no, id, 'x', new_key, 'u', false, due_at FROM rekey_moves"
        )
        connection.exec_driver_sql(f"UPDATE rekey_runs SET next_move = {MINE + 1}")
    with world.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as plain:
        for table in ("rekey_moves", "rekey_losses", "rekey_visits", "rekey_uploads"):
            plain.exec_driver_sql(f"VACUUM ANALYZE {table}")


def _ticks(world: World) -> None:
    """What reconciler and stages ask by themselves."""
    world.tick()
    world.sql("UPDATE rekey_moves SET due_at = 0 WHERE run_no = :no AND id <= 6", no=world.run_no)
    world.sql("UPDATE rekey_runs SET tick_at = 0")
    world.tick()
    for stage in ("copy", "rename", "delete"):
        world.do(stage, [1, 2])


def _leases(world: World) -> None:
    moves, run = world.context.moves, world.run
    lease, _ = moves.claim(run, [3], stage="copy", lease_seconds=30, store_time=1, clock=BootClock())
    claimed = moves.load(run, [3])
    with transaction(world.engine) as connection:
        sharing = moves.sharing_old(connection, [move.old_hash for move in moves.load(run, [MINE])])
        moves.wanting_new(connection, [move.new_hash for move in claimed])
        moves.earlier(connection, claimed[0])
    moves.claim_others(lease, sharing, stage="delete", lease_seconds=30)
    moves.renew(lease, claimed, seconds=60)
    moves.release(lease, claimed)
    moves.defer(run, [4], stage="copy", seconds=1)
    moves.unhint(run, [4])


def _questions(world: World) -> None:
    """Status, report, metrics, plan."""
    run, queues = world.run, world.context.queues
    world.report()
    CanaryLedger(world.engine).sample(run, most=10)
    for state in MoveState:
        depth_of(queues, run, state)
    queues.is_open(run), queues.is_going(run), queues.is_waiting(run)
    ledger = ReportLedger(world.engine, store=lambda: world.store)
    list(ledger.pages(run, ("id", "not_kept"), states={MoveState.DELETED}, window=500))
    ledger.held(run)
    past_rate(world.engine, bucket=BUCKET, table_name="assets")
    with transaction(world.engine) as connection:
        losses.note(connection, {(run.no, 9): frozenset({Attribute.TAGS})})
    LossLedger(world.engine).count(run)


def _uploads(world: World) -> None:
    ledger, run = UploadLedger(world.engine), world.run
    (move,) = world.context.moves.load(run, [4])
    lease = Lease(token="t", ends_at=0.0, clock=BootClock())
    number = ledger.begin(lease, move, key=move.new_key, upload_id="1")
    ledger.complete(number, source_etag="a", etag="b")
    ledger.completing(run)
    ledger.joined(move)
    ledger.is_any_held(run)
    ledger.refused(ledger.left(run)[1])
    ledger.gone(ledger.left(run)[0])
    ledger.end([number])
    ledger.close(run)


def _visits(world: World) -> None:
    ledger, run = VisitLedger(world.engine), world.run
    with transaction(world.engine) as connection:
        visits.add_visits(connection, run, [1, 2])
    ledger.take_due(run, limit=10, again_seconds=1)
    ledger.failed(run, [1], detail="no", wait_seconds=1, most=3)
    ledger.done(run, ledger.open_of(run, [1, 2]))
    ledger.is_open(run)
    ledger.figures(run)


def _steered(world: World) -> None:
    """Pause, cancel, clocks that jump, moves that wait for each other, and what an operator sends on."""
    run, queues, reopening = world.run, world.context.queues, world.context.reopening
    queues.forget_hints(run)
    queues.extend_kept(run, seconds=1)
    queues.cut_after_jump(run)
    queues.mark_suspects(run, max_deaths=3)
    world.set_columns(5, waiting=True)
    queues.end_waiting(run)
    one, other = b"1" * 32, b"2" * 32  # they wait for each other
    for number, old, new in ((4, one, other), (5, other, one)):
        waits = {"state": MoveState.PLANNED, "waiting": True, "lease_token": None, "live_hash": None}
        world.set_columns(number, old_hash=old, new_hash=new, **waits)
    assert queues.end_waiting(run) == 2
    reopening.parked(run, Selection(clients=["7"]))
    reopening.releasable(run)
    world.set_columns(6, state=MoveState.PARKED, parked_from=MoveState.PLANNED, reason="failed", stage=None, live_hash=None)
    reopening.retry(run, Selection())
    reopening.release(run, most=5)
    reopening.cancel(run)
    reopening.wake_cancelled(run, beyond_seconds=1, most=10)
    reopening.end_cancelled_moves(world.run)
    world.context.plans.seed_due_now(run)


def _ladder(world: World) -> None:
    """A run in steps on the same ledger, once the first one is over."""
    world.sql("UPDATE rekey_moves SET state = 'deleted', stage = NULL, live_hash = NULL WHERE run_no = :no", no=world.run.no)
    assert world.context.runs.end(world.run)
    world.first = world.run  # type: ignore[attr-defined]
    for number in range(11, 15):
        world.add(number)
    world.run_id = make_run(world.context, steps=(Step(limit=1), Step(limit=1), Step())).id
    world.go()
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)
    LadderLedger(world.engine).resume(world.run, failed=0)
    world.go()
    world.context.runs.set_state(world.run, RunState.PAUSED, only_from=RunState.RUNNING)
    LadderLedger(world.engine).resume(world.run, failed=0)
    world.go()


def _window(world: World) -> None:
    ledger, run = ArchiveLedger(world.engine), world.first  # type: ignore[attr-defined]
    ledger.ended_before(0)
    assert not ledger.was_taken_back(run)
    take_out(run, ledger=ledger, store=world.store, session=new_session(), goes_on=iter([True, False]).__next__, moves=100)
    take_out(run, ledger=ledger, store=world.store, session=new_session(), goes_on=iter([True, False]).__next__, moves=100)
    bring_back(run, ledger=ledger, store=world.store)
    assert ledger.find(run) is None
    assert not ledger.take_out(run, Archived(parts=1), Archived(), [])


def _rollback(world: World) -> None:
    origin = world.run
    rollbacks = world.context.rollbacks
    rollbacks.undoable(origin)
    list(rollbacks.pages(origin, limit=1000, clients=["7"]))
    world.take_back(origin.id)
    world.seed()
    assert rollbacks.newest_switched(world.run) == origin.id
    with transaction(world.engine, read_only=True) as connection:
        assert not has_switched(connection, 500)
    back, move = world.run, world.moves()[0]
    there = world.store.stat(move.old_key)
    with transaction(world.engine) as connection:
        never_left(connection, back, [move.new_hash], [move.row_id])
        sharing_new(connection, back, move)
        is_a_siblings(connection, back, move, there)
    world.go()
