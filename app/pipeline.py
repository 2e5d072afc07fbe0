"""The chain, declared once: which stage follows which, on which queue, with which concurrency. Tasks and workers are made from it.

A stage takes moves and gives each an outcome; a move that goes on is handed to the next stage, and one that does not (parked, superseded)
ends its chain there, so that no later stage touches it. To add a stage between two others (say a CDN purge after the rename), put one line
into ``MOVE_STAGES``: a stage whose ``state`` is that of its moves, which leaves that alone and hands on by
``Outcome(stage="delete")``.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.object_store import MAX_LISTED
from app.stages.copy_objects import CopyObjects
from app.stages.delete_objects import DeleteObjects
from app.stages.rename_keys import RenameKeys
from app.stages.runner import Work
from app.states import MoveState


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of the chain."""

    name: str
    task: str  # the Celery task's name
    queue: str
    concurrency_setting: str  # the setting that says how many of its tasks a worker runs at once
    next: str | None  # the stage that takes over what this one got done


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveStage(Stage):
    """A stage that works on moves of the ledger."""

    state: MoveState  # of the moves that are due for it
    work: Work
    batches: int = 1  # of BATCH_SIZE that one message may hold: a stage that looks at many keys at once sees more of them on a page

    def message_size(self, batch_size: int, *, rows: int) -> int:
        """Most moves in one message of a run over *rows*, where BATCH_SIZE is *batch_size*, and no more than a page lists; 1 stays 1.

        A smaller run has smaller ones, so that its stages work side by side.
        """
        return 1 if batch_size == 1 else max(batch_size, min(batch_size * self.batches, MAX_LISTED, rows // MESSAGES_A_RUN))


MESSAGES_A_RUN = 10

SEED = Stage(name="seed", task="seed_moves", queue="seed", concurrency_setting="seed_concurrency", next="copy")

MOVE_STAGES = (
    MoveStage(
        name="copy",
        task="copy_objects",
        queue="copy",
        concurrency_setting="copy_concurrency",
        state=MoveState.PLANNED,
        work=CopyObjects(),
        next="rename",
    ),
    MoveStage(
        name="rename",
        task="rename_keys",
        queue="rename",
        concurrency_setting="rename_concurrency",
        state=MoveState.COPIED,
        work=RenameKeys(),
        batches=5,
        next="delete",
    ),
    MoveStage(
        name="delete",
        task="delete_objects",
        queue="delete",
        concurrency_setting="delete_concurrency",
        state=MoveState.RENAMED,
        work=DeleteObjects(),
        batches=5,
        next=None,
    ),
)

STAGES: tuple[Stage, ...] = (SEED, *MOVE_STAGES)
OWN = Stage(name="own", task="own_stage", queue="own", concurrency_setting="own_concurrency", next=None)  # the operator's, beside the chain
QUEUED: tuple[Stage, ...] = (*STAGES, OWN)
BY_NAME = {stage.name: stage for stage in MOVE_STAGES}
FIRST_STAGES = {stage.state: stage.name for stage in reversed(MOVE_STAGES)}  # the first of the chain for each state
