"""What copies lack, on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.database import transaction
from app.fidelity_rules import Attribute
from app.ledger.losses import LossLedger, Lost, note
from app.ledger.reading import NOT_KEPT, ReportLedger
from app.ledger.records import Outcome
from app.schema import losses

if TYPE_CHECKING:
    from tests.builders import World

_A = Attribute


def _copied(world: World) -> LossLedger:
    for number in range(1, 5):
        world.add(number)
    world.moved(up_to="copy")
    return LossLedger(world.engine)


def _note(world: World, lost: dict[int, frozenset[Attribute]]) -> None:
    with transaction(world.engine) as connection:
        note(connection, {(world.run_no, move_id): attributes for move_id, attributes in lost.items()})


def test_losses_are_counted_by_attribute(world: World) -> None:
    """An asset that lacks two things is one asset; of a run that lost nothing there is nothing."""
    record = _copied(world)
    assert record.count(world.run) == Lost(0, {})
    _note(world, {1: frozenset({_A.ACL, _A.TAGS}), 2: frozenset({_A.ACL}), 3: frozenset()})

    assert record.count(world.run) == Lost(2, {"tags": 1, "acl": 2})


def test_later_copy_overrules_an_earlier_one(world: World) -> None:
    """Noted twice is noted once, and a copy that lacks nothing is as good as none that did."""
    record = _copied(world)
    for lost in ({1: frozenset({_A.ACL}), 2: frozenset({_A.ACL})}, {1: frozenset({_A.KMS}), 2: frozenset()}):
        _note(world, lost)

    assert record.count(world.run) == Lost(1, {"kms": 1})


def test_only_copies_that_stand_count(world: World) -> None:
    """Parked before its copy, or taken back: nothing is lost."""
    record = _copied(world)
    _note(world, dict.fromkeys(range(1, 5), frozenset({_A.ACL})))
    world.set_columns(1, state="parked", parked_from="planned", reason="failed")
    world.set_columns(2, state="parked", parked_from="renamed", reason="failed")
    world.set_columns(3, state="rolled_back")

    assert record.count(world.run) == Lost(2, {"acl": 2})


def test_report_reads_losses_beside_the_moves(world: World) -> None:
    """Each move has its line, whether it lost something or not."""
    _copied(world)
    _note(world, {2: frozenset({_A.ACL, _A.TAGS})})
    pages = ReportLedger(world.engine).pages(world.run, ("id", NOT_KEPT), window=3)

    assert [tuple(row) for page in pages for row in page] == [(1, None), (2, "tags,acl"), (3, None), (4, None)]


def test_loss_is_noted_with_the_outcome_or_not_at_all(world: World) -> None:
    """A worker whose lease was lost says nothing of a copy that is another one's by now."""
    for number in (1, 2):
        world.add(number)
    world.seed()
    late = world.crash_in("copy", [1, 2])
    outcomes = [Outcome(move=move, lost=frozenset({_A.ACL})) for move in world.moves()]
    world.set_columns(1, lease_token="another")
    written = world.context.moves.record(late, outcomes)
    with transaction(world.engine, read_only=True) as connection:
        noted = connection.execute(select(losses.c.move_id, losses.c.attributes)).all()

    assert written == {(world.run_no, 2)}
    assert [tuple(row) for row in noted] == [(2, "acl")]
