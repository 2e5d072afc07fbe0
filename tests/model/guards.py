"""The guards of the contract, each taken out in turn, and the scenario on which that shows."""

from __future__ import annotations

from tests.model.mutants import Mutant

LEASES, BATCH = "app.ledger.lease_statements", "app.stages.batch"
COPY, ADOPT, RENAME = "app.stages.copy_objects", "app.stages.adopting", "app.stages.rename_keys"
LAST, DELETE = "app.stages.last_looks", "app.stages.delete_objects"
AFTER, LATE, CLEAN, BACK = "app.stages.aftercare", "app.stages.late_writes", "app.stages.cleaning", "app.stages.going_back"
C, M = "conditional", "like_minio"


def _guard(name: str, where: str, before: str, after: str, caught_by: tuple[str, str], **more: object) -> Mutant:
    module, _, function = where.partition(":")
    return Mutant(name=name, module=module, function=function, before=before, after=after, caught_by=caught_by, **more)  # type: ignore[arg-type] # as Mutant has them


ALL = (
    _guard(
        "claim what another worker holds",
        f"{LEASES}:_take",
        "free)",
        "moves.c.id > 0)",
        ("H30_two_renamers", C),
        made_by=("TAKE", "_take()"),
    ),
    _guard(
        "claim for whatever stage the message names",
        f"{LEASES}:_take",
        'is_due_for(bindparam("due_for", type_=String)), ',
        'bindparam("due_for", type_=String) != "", ',
        ("H14_row_saved_back", C),
        made_by=("TAKE", "_take()"),
    ),
    _guard(
        "switch though the lease is lost",
        f"{RENAME}:_in_transaction",
        "if len(held) < len(moves):",
        "if False:",
        ("H30_two_renamers", C),
        and_edit=("if not all(looked.", "if False and not all(looked."),
    ),
    _guard(
        "give back what was not answered",
        f"{BATCH}:Batch.unanswered",
        "keep_lease=True",
        "keep_lease=False",
        ("H2_delete_outlives_its_lease", M),
    ),
    # The copy (S3)
    _guard(
        "copy over whatever is there",
        "app.stages.writing:write",
        "IfMatch(move.copy.etag) if move.copy else IfAbsent()",
        "None",
        ("H4_upload_to_the_new_key", M),
    ),
    _guard(
        "take an equal upload for our copy",
        f"{ADOPT}:_adopted",
        "> context.settings.settle_seconds",
        ">= 0",
        ("H12_equal_upload_to_the_new_key", C),
        besides=_guard("switch to it at once", f"{LAST}:before_switch", "perhaps_not_ours(batch, move) or ", "", ("", "")),
    ),
    _guard(
        "take one object under two spellings for two",
        "app.planning:rules_of",
        "Equivalence.of(capabilities)",
        "Equivalence()",
        ("H6_object_under_two_spellings", M),
        besides=_guard("adopt what may be the old object", f"{ADOPT}:_adopted", "not are_two(", "False and not are_two(", ("", "")),
    ),
    # The switch (S5)
    _guard(
        "switch without comparing the key",
        f"{RENAME}:_to_switch",
        "row is None or row.key != move.old_key or not",
        "row is None or not",
        ("H9_re_pointed_before_the_switch", C),
    ),
    _guard(
        "switch without computing the new key again",
        f"{RENAME}:_to_switch",
        " or not _same_plan(batch, move, row)",
        "",
        ("H10_row_of_another_client_before_the_switch", C),
    ),
    _guard(
        "switch though another row names the new key",
        f"{RENAME}:_in_transaction",
        "if _occupied(batch, connection, to_switch, naming):",
        "if False:",
        ("H5_row_on_the_new_key_before_its_upload", C),
    ),
    _guard(
        "switch without reading back",
        f"{RENAME}:_in_transaction",
        "if row is None or row.key != move.new_key:",
        "if False:",
        ("H11_database_stores_another_key", C),
    ),
    _guard(
        "switch by looks that grew old",
        f"{RENAME}:_in_transaction",
        "if not all(looked.",
        "if False and not all(looked.",
        ("H3_looks_grow_old_before_the_switch", M),
    ),
    _guard(
        "switch without looking at the source again",
        f"{LAST}:is_as_copied",
        "return source.is_same_version(move.source)",
        "return True",
        ("H8_overwritten_before_the_switch", C),
    ),
    _guard(
        "switch though the source was taken down",
        f"{LAST}:before_switch",
        "if not is_as_copied(move, source) and not _is_switched(batch, move):",
        "if source is not None and not is_as_copied(move, source) and not _is_switched(batch, move):",
        ("H24_taken_down_before_the_switch", C),
        besides=_guard(
            "switch a row that names what was not copied",
            f"{RENAME}:_to_switch",
            "not move.same_object and not is_as_copied",
            "False and not is_as_copied",
            ("", ""),
        ),
    ),
    _guard(
        "switch though our copy is gone",
        f"{LAST}:before_switch",
        "looks.found[move.old_key], _found(batch, move, looks)",
        "looks.found[move.old_key], _found(batch, move, looks) or move.copy",
        ("H22_copy_removed_before_the_switch", C),
    ),
    _guard(
        "take the commit for done where nobody knows",
        f"{RENAME}:_switch_all",
        "if not outcomes or any(",
        "if not outcomes and any(",
        ("H30_fate_of_the_commit_unknown", C),
    ),
    # The looks after it (S1, S2)
    _guard(
        "look only at the end of the grace",
        f"{RENAME}:_after_commit",
        "first_look = max(0.0, min(context.settings.look_seconds - context.settings.reconcile_seconds, grace))",
        "first_look = float(grace)",
        ("H8_overwritten_before_the_switch", C),
    ),
    _guard("delete a source that changed", f"{AFTER}:look_after", "or _changed(batch, view, seen, old)", "", ("H1_late_writes", C)),
    _guard(
        "copy a late write over whatever is at the new key",
        f"{LATE}:late_write",
        "if new is not None and not move.is_our_copy(new):",
        "if False:",
        ("H1_late_writes", C),
    ),
    _guard(
        "copy a late write at once", f"{LATE}:late_write", "if not overlapped and age <= settle:", "if False:", ("A2_old_key_used_again", C)
    ),
    _guard(
        "copy what was written long after the switch",
        f"{LATE}:_not_the_rows",
        'return " so long after the switch that it may be another asset\'s"',
        "return None",
        ("H1_released_when_the_key_was_used_again", C),
    ),
    # The delete (S4)
    _guard("no grace", f"{AFTER}:_grace_left", "return max(by_database, float(by_store), held)", "return 0.0", ("H16_end_of_the_grace", C)),
    _guard(
        "a grace by the database's clock alone",
        f"{AFTER}:_grace_left",
        "if move.grace_seconds and move.copy:",
        "if False:",
        ("H16_clock_jumps", C),
    ),
    _guard(
        "delete without asking the rows",
        f"{AFTER}:_named",
        "named = bool(view.claims.named_by_others(move, move.old_key))",
        "named = False",
        ("H29_second_row_on_the_old_object", M),
    ),
    _guard(
        "no grace for readers of a row that left",
        f"{AFTER}:_left",
        "if not move.sighted:",
        "if True:",
        ("H29_second_row_and_away", M),
        faults=0,
    ),
    _guard(
        "delete by looks that grew old",
        "app.stages.holding:going_on",
        "if now > end or context.stopping():",
        "if context.stopping():",
        ("A1_written_after_the_grace", M),
    ),
    _guard(
        "delete before the journal says so",
        f"{DELETE}:_delete",
        "due, noted = note(batch, view, going.due)",
        "due, noted = going.due, note(batch, view, [])[1]",
        ("H31_journal_before_the_delete", C),
    ),
    _guard(
        "ask no row after the delete",
        f"{DELETE}:_ask_again",
        "if after.rows_naming(move.old_key):",
        "if False:",
        ("A1_named_after_the_grace", C),
    ),
    _guard(
        "compare keys byte by byte",
        "app.planning:rules_of",
        "Equivalence.of(capabilities)",
        "Equivalence()",
        ("H6_second_row_in_another_spelling", M),
    ),
    _guard(
        "take the same bytes for the same version",
        f"{AFTER}:_changed",
        "not old.is_same_version(move.source)",
        "old.etag != move.source.etag",
        ("H21_headers_mended", C),
    ),
    _guard(
        "delete what the row names again",
        f"{AFTER}:_named",
        "if seen.row is not None and seen.old is not None and ",
        "if False and ",
        ("H14_row_saved_back", C),
    ),
    # Clean-ups, and the way back
    _guard(
        "remove a copy that may be all that is left",
        f"{CLEAN}:_remove",
        "if _is_last(batch, move):",
        "if False:",
        ("H15_database_restored_and_the_run_cancelled", C),
    ),
    _guard(
        "remove a copy that a row names",
        f"{CLEAN}:_remove",
        "or claims.rows_naming(move.new_key) ",
        "",
        ("H17_cancelled_when_the_application_switched", C),
    ),
    _guard(
        "take a row back without looking",
        f"{BACK}:as_it_was",
        "if is_written(move.copy, there) and is_written(move.source, here) else None",
        "",
        ("H18_taken_back_while_held", C),
    ),
)
