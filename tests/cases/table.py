"""What went wrong for others, by number: the fault, and which tests beside those of its own name hold the product to the right value."""

from __future__ import annotations

# The tests of a case are those named ``test_case_<number>_...``, wherever they lie; these are more that play it, or a part of it.
CASES: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "the store takes two spellings of a key for one object",
        (
            "tests/contract/test_capabilities.py::test_probe_sees_each_fold",
            "tests/contract/test_writes.py::test_leading_slash_is_the_same_object_where_it_was_seen_to_be",
            "tests/acceptance/test_bad_rows.py::test_odd_names_that_a_store_can_hold_arrive_byte_for_byte",
        ),
    ),
    2: (
        "names climb out of their client's folder, or hold empty and dotted segments",
        (
            "tests/unit/test_object_keys.py::test_new_key_refuses_a_client_id_that_is_no_segment",
            "tests/acceptance/test_bad_rows.py::test_rows_that_cannot_be_moved_are_parked_and_the_others_move",
        ),
    ),
    3: (
        "keys are encoded or decoded once too often",
        (
            "tests/chains/test_there_and_back.py::test_assets_with_odd_old_keys_and_odd_names_go_there_and_back",
            "tests/acceptance/test_bad_rows.py::test_odd_names_that_a_store_can_hold_arrive_byte_for_byte",
        ),
    ),
    4: (
        "accents as one letter or as two",
        ("tests/chains/test_there_and_back.py::test_assets_with_odd_old_keys_and_odd_names_go_there_and_back",),
    ),
    6: (
        "lengths are counted in letters, or noticed by the store",
        ("tests/acceptance/test_bad_rows.py::test_rows_that_cannot_be_moved_are_parked_and_the_others_move",),
    ),
    7: (
        "a key that XML cannot carry spoils a multi-delete, or names its neighbour",
        ("tests/chains/test_there_and_back.py::test_assets_with_odd_old_keys_and_odd_names_go_there_and_back",),
    ),
    8: ("a copy is answered as done and is not", ()),
    10: ("a check after the copy fails for reasons of its own", ()),
    11: ("multipart sources: another ETag, a mixture of two versions, lost headers", ()),
    12: ("content type, ACL and encryption are dropped by a copy", ()),
    13: ("old versions, locks and archives", ()),
    15: ("credentials that may not delete or list", ()),
    16: (
        "a present object answers 404 for a moment",
        (
            "tests/unit/stages/test_copy_objects.py::test_missing_source_is_parked_only_after_looks_spread_in_time",
            "tests/unit/stages/test_delete_objects.py::test_one_404_for_both_objects_ends_nothing",
            "tests/chaos/test_network.py::test_migration_outlives_a_faulty_network",
        ),
    ),
    17: (
        "bulk work drives the store into 503, and the live service with it",
        (
            "tests/cases/test_throttled.py::test_case_17_a_store_that_bears_fifty_requests_a_second_is_not_driven_beyond",
            "tests/property/test_throttle.py::test_rate_stays_near_what_the_store_bears",
        ),
    ),
    18: (
        "a write was done and its reply lost",
        ("tests/unit/stages/test_delete_objects.py::test_unanswered_delete_keeps_its_lease_and_converges",),
    ),
    20: (
        "signatures and leases by clocks that are wrong",
        (
            "tests/contract/test_writes.py::test_request_dies_at_the_store_with_its_signature",
            "tests/unit/test_reconcile.py::test_jump_forward_ends_no_lease",
        ),
    ),
    21: (
        "conditions on delete, put or copy are ignored",
        (
            "tests/contract/test_capabilities.py::test_probe_sees_each_condition_that_is_ignored",
            "tests/acceptance/test_steering.py::test_old_objects_stay_for_the_grace_and_a_late_write_to_one_is_kept",
        ),
    ),
    22: ("a multi-delete stops early, or answers for what it has not done", ()),
    23: (
        "the disk is full, since copies double the data; keys expire and the job freezes in silence",
        (
            "tests/unit/stages/test_noting.py::test_full_store_lets_a_few_go_first_and_notes_them_when_there_is_room",
            "tests/unit/test_s3_credentials.py::test_keys_of_a_role_are_fetched_anew_before_they_expire",
        ),
    ),
    24: (
        "the old object goes while readers still have its key",
        ("tests/unit/stages/test_delete_objects.py::test_old_object_goes_when_the_grace_is_over_by_both_clocks",),
    ),
    26: ("an object is moved onto itself", ("tests/acceptance/test_migration.py::test_second_run_changes_nothing",)),
    27: (
        "a new reference appears between check and delete",
        ("tests/unit/stages/test_delete_objects.py::test_last_look_finds_a_row_on_the_old_object_even_after_all_graces",),
    ),
    29: (
        "a stale record is written over newer changes",
        ("tests/unit/stages/test_rename_keys.py::test_version_column_is_bumped_so_that_a_stale_save_is_refused",),
    ),
    30: (
        "two assets want one new key",
        (
            "tests/unit/stages/test_collisions.py::test_second_row_is_parked_by_default",
            "tests/unit/stages/test_collisions.py::test_second_row_gets_a_suffix_of_its_own",
        ),
    ),
    31: (
        "unfinished moves block later ones; names are derived from names that were moved",
        (
            "tests/model/test_scenarios.py::test_contract_holds_on_every_schedule",
            "tests/chaos/test_kills.py::test_migration_under_steady_kills_ends_and_tells_the_truth",
        ),
    ),
    32: ("success is announced although transfers had failed", ("tests/chaos/test_rounds.py::test_migration_outlives_every_fault",)),
    33: (
        "an empty name makes the move of a file that of its directory",
        ("tests/acceptance/test_bad_rows.py::test_rows_that_cannot_be_moved_are_parked_and_the_others_move",),
    ),
    35: (
        "paging skips rows while the table changes; the whole result lies in memory",
        (
            "tests/unit/stages/test_seed_moves.py::test_ids_of_any_type_page_and_switch",
            "tests/contract/ledger/test_ledger_moves.py::test_seeds_at_once_plan_each_page_once",
        ),
    ),
    36: (
        "the connection is lost in mid-commit",
        (
            "tests/contract/ledger/test_ledger_database.py::test_restarted_server_fails_once_and_works_again",
            "tests/unit/stages/test_rename_keys.py::test_lost_commit_reply_is_read_back_and_counts_as_done",
        ),
    ),
    37: (
        "deadlocks, lock upgrades, exhausted pools, an engine that is shared over a fork",
        (
            "tests/contract/ledger/test_ledger_database.py::test_deadlock_is_transient",
            "tests/contract/ledger/test_ledger_database.py::test_exhausted_pool_is_transient",
        ),
    ),
    38: (
        "odd bytes in text, quoted and mixed-case names",
        (
            "tests/unit/stages/test_seed_moves.py::test_tables_of_any_name_work",
            "tests/contract/ledger/test_ledger_chain.py::test_quoted_and_schema_qualified_names_work_on_postgresql",
        ),
    ),
    39: (
        "tasks that outlast the visibility time-out, masses of ETA messages",
        (
            "tests/unit/test_reconcile.py::test_ticks_send_no_more_than_max_in_flight",
            "tests/unit/test_reconcile.py::test_switched_moves_are_sent_when_their_look_is_due",
        ),
    ),
    40: (
        "a killed worker's task is lost, or kills for ever",
        (
            "tests/integration/test_worker_stops.py::test_killed_worker_s_message_comes_back_after_the_visibility_timeout",
            "tests/integration/test_worker_stops.py::test_messages_not_begun_stay_on_the_broker",
            "tests/chaos/test_kills.py::test_migration_under_steady_kills_ends_and_tells_the_truth",
        ),
    ),
    41: (
        "a worker lives and consumes nothing after an outage of its broker",
        (
            "tests/integration/test_worker_health.py::test_health_is_green_while_the_worker_consumes_and_red_when_it_has_stopped",
            "tests/integration/test_worker_health.py::test_worker_outlives_its_broker_s_outage",
            "tests/cases/test_workers.py::test_case_42_a_broker_that_is_full_evicts_and_forgets_loses_nothing",
        ),
    ),
    42: (
        "messages vanish",
        (
            "tests/unit/test_tasks.py::test_flushed_broker_loses_nothing",
            "tests/unit/test_celery_app.py::test_loader_refuses_a_tasks_package_that_lacks_a_task",
            "tests/chaos/test_rounds.py::test_migration_outlives_every_fault",
        ),
    ),
    44: (
        "two deployments on one Redis take each other's tasks",
        (
            "tests/integration/test_workers.py::test_worker_takes_messages_of_its_own_deployment_only",
            "tests/unit/test_tasks.py::test_message_of_another_deployment_or_an_unknown_run_is_refused",
        ),
    ),
}
