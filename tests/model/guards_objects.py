"""The guards of objects that several may lay claim to, each taken out in turn; and those behind which something else stands."""

from __future__ import annotations

from tests.model.guards import AFTER, CLEAN, COPY, DELETE, LAST, RENAME, C, M, _guard

ALL = (
    _guard(
        "take what arrived for a copy",
        "app.copying:sized",
        "if copy.size != source.size:",
        "if False:",
        ("S3_copy_arrives_cut", C),
    ),
    _guard(
        "copy to where a row waits for its upload",
        f"{COPY}:_attempt",
        "not_now = _not_now(batch, move, claims, writes=untouched is None) or ",
        "not_now = ",
        ("H5_row_on_the_new_key_long_before_its_upload", C),
    ),
    _guard(
        "write over a copy that was only inferred",
        f"{COPY}:_attempt",
        " or perhaps_not_ours(batch, move)",
        "",
        ("H12_equal_upload_and_a_worker_that_died", C),
    ),
    _guard(
        "switch to a copy that was only inferred",
        f"{LAST}:before_switch",
        "perhaps_not_ours(batch, move) or ",
        "",
        ("H12_equal_upload_that_changes", C),
    ),
    _guard(
        "remove a copy that was only inferred",
        f"{CLEAN}:remove_copy",
        "may_go = move.copy_recorded and ",
        "may_go = ",
        ("H12_equal_upload_and_the_run_cancelled", C),
    ),
    _guard(
        "leave other moves on the same object alone",
        f"{DELETE}:_join_sharing",
        "stage=batch.result.stage, lease_seconds=lease_seconds) if missing else []",
        "stage=batch.result.stage, lease_seconds=lease_seconds) if False else []",
        ("H13_two_deleters_of_a_shared_object", C),
    ),
    # The transaction: its bounds, and what READ COMMITTED lets through within it (H20)
    _guard(
        "note a switch in a transaction of its own",
        f"{RENAME}:_switch_all",
        "outcomes = _in_transaction(batch, connection, moves, looked)\n",
        "outcomes = _in_transaction(batch, connection, moves, looked)\n        batch.context.moves.record(batch.lease, outcomes)\n",
        ("H30_two_renamers", M),
        besides=_guard(
            "with the rows", f"{RENAME}:_in_transaction", "context.moves.record(batch.lease, outcomes, connection=connection)", "", ("", "")
        ),
    ),
    _guard(
        "read the rows of a switch without holding them",
        f"{RENAME}:_in_transaction",
        "lock=True)",
        "lock=False)",
        ("H20_row_changes_within_the_switch", M),
        faults=0,
    ),
)

# Nothing shows where one of these is missing, since something else holds: the reason. Played whole, to the depth of the others.
BACKED = (
    (
        _guard(
            "send on before the transaction commits",
            "tests.model.parties:Parties._stage",
            "    run = context.runs.find(",
            "    self._send(BY_NAME[work.next], ids) if work.next else None\n    run = context.runs.find(",
            ("H4_upload_to_the_new_key", M),
        ),
        "a claim asks the ledger what is due: a message that comes too early finds nothing, and the reconciler sends another one",
    ),
    (
        _guard(
            "take another asset's copy for a late write",
            f"{AFTER}:_named",
            "if view.claims.owner(move) is not None:",
            "if False:",
            ("H19_chain", C),
        ),
        "nothing is copied to the old key of an open move (H19); one that is parked meanwhile is in unit/stages/test_delete_objects.py",
    ),
)
