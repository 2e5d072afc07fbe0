"""Plans in the ledger, on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from app.database import MICROSECONDS, transaction
from app.errors import UsageError
from app.ledger.saved_plans import LEAST_ROWS, PlanStore, past_rate
from app.schema import moves, runs
from app.states import MoveState, RunState
from tests.builders import make_plan, make_run

if TYPE_CHECKING:
    from app.ledger.records import Run
    from app.stages.context import Context


def save(context: Context, **documents: Any) -> Any:  # noqa: ANN401 - JSON
    """A plan of nothing much."""
    empty: dict[str, Any] = {"settings": {}, "table_columns": {}, "equivalence": {}, "content": {}, "fingerprint": {}}
    return PlanStore(context.runs.engine).save(
        bucket="assets", table_name="assets", user="me@here", version="0.1.0", **{**empty, **documents}
    )


def test_plan_is_found_by_the_beginning_of_its_id(context: Context) -> None:
    """As it was saved, with who and when."""
    sample = {f'["{"é" * 40}{number}"]': "0123456789abcdef" for number in range(5000)}  # more than a TEXT of MySQL takes
    saved = save(context, fingerprint={"rows": 5000, "sample": sample}, content={"samples": [{"old_key": "up/ü😀.png"}]})
    found = PlanStore(context.runs.engine).get(saved.id[:10])

    assert found == saved
    assert found.fingerprint["sample"] == sample
    assert found.content["samples"][0]["old_key"] == "up/ü😀.png"
    assert (found.created_by, found.version) == ("me@here", "0.1.0")
    assert abs(found.created_at - context.runs.now()) < 60 * MICROSECONDS


@pytest.mark.parametrize("plan_id", ["", "zz", "%", "_"])
def test_plan_that_is_not_there_is_refused(context: Context, plan_id: str) -> None:
    """No pattern passes for an id."""
    save(context)

    with pytest.raises(UsageError, match="no plan begins with"):
        PlanStore(context.runs.engine).get(plan_id)


def finish(context: Context, run: Run, *, rows: int, seconds: int) -> None:
    """Let *rows* of a run be switched within *seconds*, and the run be over."""
    plans = [make_plan(number, rules=context.rules) for number in range(1, rows + 1)]
    context.plans.insert_page(run, plans, in_place=set(), cursor=plans[-1].row_id, grace_seconds=0)
    with transaction(context.runs.engine) as connection:
        at = run.created_at + seconds * MICROSECONDS
        connection.execute(
            update(moves).where(moves.c.run_no == run.no).values(switched_at=at, state=MoveState.DELETED, live_hash=None, stage=None)
        )
    assert context.runs.set_state(run, RunState.FINISHED, only_from=RunState.RUNNING)


def test_past_rate_is_that_of_the_last_finished_run_on_this_table(context: Context) -> None:
    """Until its last row was switched; a run of a few rows tells nothing."""
    engine = context.runs.engine
    assert past_rate(engine, bucket="assets", table_name="assets") is None
    few = make_run(context)
    finish(context, few, rows=LEAST_ROWS - 1, seconds=1)
    assert past_rate(engine, bucket="assets", table_name="assets") is None
    run = make_run(context)
    finish(context, run, rows=200, seconds=4)
    found = past_rate(engine, bucket="assets", table_name="assets")

    assert found is not None
    assert (found.run_id, found.rows, found.rows_per_second) == (run.id, 200, 50.0)
    elsewhere = past_rate(engine, bucket="other", table_name="other")
    assert elsewhere == found
    with transaction(engine) as connection:
        connection.execute(update(runs).where(runs.c.no == run.no).values(state=RunState.CANCELLED))
    assert past_rate(engine, bucket="assets", table_name="assets") is None
