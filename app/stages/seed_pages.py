"""The pages of rows that the seed plans: of all rows, or of those that the run's step takes (app.ladder)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Connection

from app.assets import AssetRow, Assets
from app.database import transaction
from app.ladder import Step, sampled
from app.ledger.ladders import Ladder
from app.ledger.records import Run
from app.planning import Plan
from app.stages.context import Context

PAGE_ROWS = 2000  # numbered in the order of the new keys; a multiple of the most moves in a message, so that blocks are of one page


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows, the plans of those that have no move yet, and the row id to go on from; None at the end of the table."""

    rows: Sequence[AssetRow] = ()
    plans: Sequence[Plan] = field(default=())
    beyond: str | None = None


def is_full(ladder: Ladder | None) -> bool:
    """Whether the step has planned all that it may."""
    return ladder is not None and (ladder.here.is_nobodys or ladder.room == 0)


def next_page(run: Run, ladder: Ladder | None, *, context: Context) -> Page:
    """The next page from the cursor of *run*, an empty one at the end of its step; begins to read the one after it.

    Not where the run has steps: how much a step takes of a page depends on what was planned before.
    """
    if ladder is not None or context.pages is None:
        return _read(run, ladder, context)
    page = context.pages.take(run) or _read(run, None, context)
    if page.beyond is not None:
        following = replace(run, seed_cursor=page.beyond)
        context.pages.begin(following, partial(_read, following, None, context))
    return page


def _read(run: Run, ladder: Ladder | None, context: Context) -> Page:
    if is_full(ladder):
        return Page()
    step = ladder.here if ladder else Step()
    with transaction(context.moves.engine, read_only=True) as connection:
        rows, beyond = stretch(connection, context.assets, step, after=run.seed_cursor)
        fresh = context.plans.unplanned(connection, run, [row.row_id for row in rows]) if rows else set()
    plans = {row.row_id: context.rules.plan(row) for row in rows if row.row_id in fresh}
    end = _end(rows, plans, room=ladder.room if ladder else None)
    if end < len(rows):
        rows, beyond = rows[:end], rows[end - 1].row_id
    return Page(rows=rows, plans=[plans[row.row_id] for row in rows if row.row_id in plans], beyond=beyond)


def _end(rows: Sequence[AssetRow], plans: dict[str, Plan], *, room: int | None) -> int:
    """How many of *rows* are taken, so that no more than *room* of them need a move; what can be none, or is in place, does not count."""
    if room is None:
        return len(rows)
    left = room
    for number, row in enumerate(rows, start=1):
        plan = plans.get(row.row_id)
        left -= plan is not None and plan.reason is None and not plan.in_place
        if not left:
            return number
    return len(rows)


def stretch(connection: Connection, assets: Assets, step: Step, *, after: str | None) -> tuple[list[AssetRow], str | None]:
    """The next rows that *step* takes, perhaps none, and the row id to go on from; None at the end of the table."""
    chosen = assets.of_clients(step.clients)
    if step.sample is None:
        return chosen.stretch(connection, after=after, limit=PAGE_ROWS)
    ids, beyond = chosen.stretch_of_ids(connection, after=after)
    some = sampled(ids, share=step.sample)
    if len(some) > PAGE_ROWS:
        some, beyond = some[:PAGE_ROWS], some[PAGE_ROWS - 1]
    return list(chosen.rows(connection, some, selected=True).values()), beyond


def count_unseen(run: Run, ladder: Ladder | None, *, late: bool, context: Context) -> int:
    """Rows that would have to be moved and that no pass has examined; *late*: the last pass still found new ones.

    A step that takes so many rows, or a sample, leaves others on purpose.
    """
    step = ladder.here if ladder else Step()
    if step.limit is not None or step.is_nobodys:
        return 0
    with transaction(context.moves.engine, read_only=True) as connection:
        unseen = context.assets.of_clients(step.clients).count_nameless(connection) if step.sample is None else 0
    after, more = None, late
    while more:
        with transaction(context.moves.engine, read_only=True) as connection:
            page, after = stretch(connection, context.assets, step, after=after)
            fresh = context.plans.unplanned(connection, run, [row.row_id for row in page]) if page else set()
        unseen += sum(1 for row in page if row.row_id in fresh and not context.rules.plan(row).in_place)
        more = after is not None
    return unseen
