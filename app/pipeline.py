"""The chain, declared once: which stage follows which, on which queue, with which concurrency. Tasks and workers are made from it.

A stage takes moves and gives each an outcome; a move that goes on is handed to the next stage, and one that does not (parked, superseded)
ends its chain there, so that no later stage touches it. To add a stage between two others (say a CDN purge after the rename), put one line
into ``MOVE_STAGES``: a stage whose ``state`` is that of its moves, which leaves that alone and hands on by
``Outcome(stage="delete")``.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        next="delete",
    ),
    MoveStage(
        name="delete",
        task="delete_objects",
        queue="delete",
        concurrency_setting="delete_concurrency",
        state=MoveState.RENAMED,
        work=DeleteObjects(),
        next=None,
    ),
)

STAGES: tuple[Stage, ...] = (SEED, *MOVE_STAGES)
BY_NAME = {stage.name: stage for stage in MOVE_STAGES}
FIRST_STAGES = {stage.state: stage.name for stage in reversed(MOVE_STAGES)}  # the first of the chain for each state
