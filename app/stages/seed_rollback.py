"""The seed of a rollback: pages of the moves that are taken back, instead of pages of the table (H18)."""

from __future__ import annotations

from app.database import transaction
from app.ledger.records import Run
from app.stages.context import Context
from app.stages.noting import drop_mark, mark_journal

PAGE_MOVES = 1000


def plan_page(run: Run, *, context: Context) -> tuple[str, list[int] | None]:
    """Plan the next page of the rollback *run*.

    Returns:
        What was done, and the moves to copy; None when the last page is planned.
    """
    clients = run.selection.get("clients", ())
    after = int(run.seed_cursor or 0)
    with transaction(context.moves.engine, read_only=True) as connection:
        page, beyond = context.rollbacks.page(connection, run.origin_no or 0, after=after, limit=PAGE_MOVES, clients=clients)
        chosen = context.assets.selected(connection, [move.row_id for move in page])
    if not page and beyond is None:
        context.plans.end_pass(run, max_passes=1)
        return "all pages are planned, seeding is done", None
    here = [move for move in page if move.row_id in chosen]
    cursor = str(page[-1].id if beyond is None else beyond)
    mark = mark_journal(run, context) if run.next_move == 1 else None
    planned = context.rollbacks.insert_page(run, here, cursor=cursor, grace_seconds=context.settings.grace_seconds, mark=mark)
    if planned is None:
        drop_mark(mark, context)
        return "another seed was faster", []
    return f"{len(planned.copy_ids)} of {len(page)} moves planned back", planned.copy_ids
