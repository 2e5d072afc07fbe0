"""The chain: each stage hands over to the next, and a user adds one in a line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from app import pipeline, reconcile
from app.ledger.moves import MoveLedger
from app.ledger.records import Outcome
from app.pipeline import BY_NAME, FIRST_STAGES, MOVE_STAGES, SEED, STAGES, MoveStage
from app.states import OPEN_STATES, MoveState
from tests import builders
from tests.builders import World

if TYPE_CHECKING:
    from pathlib import Path

    from app.stages.batch import Batch


def test_every_open_state_has_a_stage_and_every_stage_a_next_one_that_exists() -> None:
    """No move is left without somebody whose work it is."""
    assert FIRST_STAGES.keys() == OPEN_STATES
    assert [stage.next for stage in STAGES] == [stage.name for stage in STAGES[1:]] + [None]
    assert SEED.next in BY_NAME
    assert len({stage.queue for stage in STAGES}) == len(STAGES)


@pytest.mark.parametrize(
    ("batch_size", "rows", "copies", "renames"),
    [
        (1, 10**6, 1, 1),
        (2, 10**6, 2, 10),
        (200, 10**6, 200, 1000),
        (1000, 10**6, 1000, 1000),
        (200, 10_000, 200, 1000),
        (200, 5_000, 200, 500),
        (200, 30, 200, 200),
    ],
)
def test_message_of_a_stage_that_looks_at_many_holds_several_batches(batch_size: int, rows: int, copies: int, renames: int) -> None:
    """One page of a listing serves all of them; BATCH_SIZE 1 stays one message an asset; a small run keeps its stages busy."""
    sizes = [BY_NAME[name].message_size(batch_size, rows=rows) for name in ("copy", "rename", "delete")]

    assert sizes == [copies, renames, renames]


@dataclass(frozen=True, slots=True)
class PurgeCache:
    """A stage of a user: tells a CDN about switched assets, and hands on."""

    purged: list[str] = field(default_factory=list)
    chunk: int = 2

    def act(self, batch: Batch) -> None:
        """Purge the next chunk."""
        for move in batch.left[: self.chunk]:
            self.purged.append(move.old_key)
            batch.add(Outcome(move=move, stage="delete", hinted=True), say="purged")


def _with_purge(monkeypatch: pytest.MonkeyPatch, work: PurgeCache) -> None:
    purge = MoveStage(
        name="purge", task="purge", queue="purge", concurrency_setting="copy_concurrency", state=MoveState.RENAMED, work=work, next="delete"
    )
    copy, rename, delete = MOVE_STAGES
    chain = (copy, dataclasses.replace(rename, next="purge"), purge, delete)
    by_name = {stage.name: stage for stage in chain}
    first = {stage.state: stage.name for stage in reversed(chain)}
    monkeypatch.setattr(reconcile, "MOVE_STAGES", chain)
    for module in (pipeline, builders):
        monkeypatch.setattr(module, "BY_NAME", by_name)
        monkeypatch.setattr(module, "FIRST_STAGES", first)


@pytest.mark.parametrize("grace", [0, 60])
def test_stage_that_a_user_adds_sees_each_asset_once_between_rename_and_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace: int
) -> None:
    """Looks and refusals in the delete stage do not send a move back to it."""
    work = PurgeCache()
    _with_purge(monkeypatch, work)
    world = World(tmp_path, settings={"grace_seconds": grace})
    for number in range(1, 6):
        world.add(number)
    world.add(6, "up/1.png", body=None, client=8)
    world.go()

    assert isinstance(world.context.moves, MoveLedger)
    assert world.states() == {"deleted": 6}
    assert sorted(work.purged) == ["up/1.png"] * 2 + [f"up/{number}.png" for number in range(2, 6)]


def test_asset_that_a_stage_parks_goes_no_further(tmp_path: Path) -> None:
    """The chain of an asset ends where it fails; no later stage touches its row or its objects."""
    world = World(tmp_path)
    for number in range(1, 4):
        world.add(number)
    world.store.app_put("clients/7/assets/2.png", b"theirs")
    world.go()

    assert world.states() == {"deleted": 2, "parked": 1}
    assert world.key(2) == "up/2.png"
    assert {key for _, key in world.writes() if key.endswith("/2.png")} <= {"clients/7/assets/2.png"}
