"""The record of multipart uploads under way, on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app.database import transaction
from app.schema import uploads

if TYPE_CHECKING:
    from app.ledger.records import Lease
    from tests.builders import World


def _claimed(world: World) -> Lease:
    for number in (1, 2):
        world.add(number)
    world.seed()
    return world.crash_in("copy")


def _count(world: World) -> int:
    with transaction(world.engine, read_only=True) as connection:
        return int(connection.execute(select(func.count()).select_from(uploads)).scalar_one())


def test_upload_is_left_once_its_lease_is_over_or_another_ones(world: World) -> None:
    """By the ledger's clock and token, as every right to act."""
    lease = _claimed(world)
    record = world.context.uploads
    first, second = (record.begin(lease, world.move(number), key=f"n{number}", upload_id=f"u{number}") for number in (1, 2))
    assert record.left(world.run) == []
    world.set_columns(2, lease_token="another worker's")
    assert [(left.id, left.key, left.upload_id) for left in record.left(world.run)] == [(second, "n2", "u2")]
    world.set_columns(2, lease_token=None, lease_until=0)
    assert [left.id for left in record.left(world.run)] == [second]
    world.later(31)

    assert [left.id for left in record.left(world.run)] == [first, second]


def test_upload_that_the_store_refused_to_abort_comes_after_the_others(world: World) -> None:
    """It is left all the same, and no matter who asks again."""
    lease = _claimed(world)
    record = world.context.uploads
    first, second = (record.begin(lease, world.move(number), key=f"n{number}", upload_id=f"u{number}") for number in (1, 2))
    world.later(31)
    record.refused(record.left(world.run)[0])

    assert [(left.id, left.was_refused) for left in record.left(world.run)] == [(second, False), (first, True)]


def test_upload_that_is_over_is_forgotten(world: World) -> None:
    """Completed, or aborted."""
    lease = _claimed(world)
    record = world.context.uploads
    numbers = [record.begin(lease, world.move(1), key="n", upload_id=f"u{number}") for number in range(3)]
    record.end(numbers[:2])

    assert _count(world) == 1


def test_expected_etag_outlives_its_upload_until_the_move_is_copied_anew(world: World) -> None:
    """It is the evidence for a completion whose answer nobody heard (H12)."""
    lease = _claimed(world)
    record = world.context.uploads
    number = record.begin(lease, world.move(1), key="n", upload_id="é" * 300)
    record.begin(lease, world.move(2), key="n2", upload_id="u2")
    assert record.joined(world.move(1)) == set()
    record.complete(number, source_etag="s", etag="c-2")
    world.later(31)
    for left in record.left(world.run):
        record.gone(left)

    assert (record.left(world.run), _count(world)) == ([], 1)
    assert (record.joined(world.move(1)), record.joined(world.move(2))) == ({("s", "c-2")}, set())
    record.begin(lease, world.move(1), key="n", upload_id="again")
    assert record.joined(world.move(1)) == set()


def test_end_of_a_run_forgets_what_is_gone(world: World) -> None:
    """What could not be aborted stays on record."""
    lease = _claimed(world)
    record = world.context.uploads
    for number in (1, 2):
        record.complete(record.begin(lease, world.move(number), key="n", upload_id="u"), source_etag="s", etag="c-2")
    world.later(31)
    record.gone(record.left(world.run)[0])
    record.close(world.run)

    assert len(record.left(world.run)) == _count(world) == 1
