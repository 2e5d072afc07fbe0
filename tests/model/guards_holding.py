"""The guards of what is to wait, and of what may not: each taken out in turn, and the scenario on which that shows."""

from __future__ import annotations

from tests.model.guards import AFTER, LEASES, M, _guard

NOTING, HOLDING = "app.stages.noting", "app.stages.holding"
ALL = (
    _guard(
        "let go what is not noted while the mark says that all is",
        f"{NOTING}:note",
        "_first_out(due) if _is_unmarked(batch) else []",
        "_first_out(due)",
        ("H15_full_store_takes_no_journal", M),
    ),
    _guard(
        "let nothing go before its note",
        f"{NOTING}:note",
        "_first_out(due) if _is_unmarked(batch) else []",
        "due[:0]",
        ("H15_full_store_while_copied", M),
    ),
    _guard(
        "give the marks of all seeds one name",
        f"{NOTING}:mark_journal",
        "key = new_mark()",
        'key = ".rekey/complete/one"',
        ("H15_two_seeds_and_the_mark", M),
    ),
    _guard(
        "delete though deletes are held",
        f"{AFTER}:_grace_left",
        "return max(by_database, float(by_store), held)",
        "return max(by_database, float(by_store))",
        ("H24_taken_down_and_missed_by_a_canary", M),
        faults=0,
        besides=_guard("nor ask of it last", f"{HOLDING}:still_may_go", " and now.deletes_held_until <= view.now", "", ("", "")),
    ),
    _guard(
        "delete though the run was paused after the look",
        f"{HOLDING}:still_may_go",
        "now.state is batch.run.state and ",
        "",
        ("H17_paused_before_the_delete", M),
        faults=0,
    ),
    _guard(
        "delete before the operator's own stage has seen the asset",
        f"{HOLDING}:_seen_by_own_stage",
        "unseen = context.visits.open_of(batch.run, [move.id for move, _ in due if move.run_no == batch.run.no])",
        "unseen = {}",
        ("H17_deletes_wait_for_an_own_stage", M),
        faults=0,
    ),
    _guard(
        "take the note away before the operator's function is called",
        "app.stages.own_stage:call_own_stage",
        "own_stage(name)(assets)",
        "context.visits.done(run, wanted); own_stage(name)(assets)",
        ("H17_deletes_wait_for_an_own_stage", M),
    ),
    _guard(
        "take away the note of whichever switch there is",
        "app.ledger.visits:VisitLedger.done",
        ", marked)",
        ")",
        ("H14_switched_twice_before_an_own_stage", M),
        faults=0,
    ),
    _guard(
        "take moves in hand though the run was paused",
        f"{LEASES}:_take",
        'moves.c.suspect == bindparam("suspects"), running)',
        'moves.c.suspect == bindparam("suspects"), bindparam("run_state", type_=String) != "")',
        ("H17_paused_by_a_canary", M),
        made_by=("TAKE", "_take()"),
    ),
)
