"""Where the schedule of each hole of the protocol (H1 to H35) is played: by scenarios called after it, or by a test of another kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A test of another kind: its file and name, and why it is the better place."""

    file: str
    test: str
    why: str


UNIT = "tests/unit"
STAGES = f"{UNIT}/stages"
DATABASE = "tests/contract/ledger/test_ledger_database.py"
MORE = {
    "H23": ("A1_named_after_the_grace", "A2_old_key_used_again_row_first"),  # the application breaks a promise there
}
ELSEWHERE = {
    "H3": Elsewhere(
        file=f"{UNIT}/test_looks.py",
        test="test_look_is_as_old_as_its_request",
        why="a few keys are looked at by HEADs; that a listing is one page from start-after is a matter of many",
    ),
    "H20": Elsewhere(
        file=DATABASE,
        test="test_row_committed_meanwhile_is_seen_by_the_next_statement",
        why="the checks of a delete are one step here; only the switch is played statement by statement",
    ),
    "H32": Elsewhere(
        file="tests/contract/ledger/test_ledger_runs.py",
        test="test_second_live_run_is_refused_until_the_first_has_ended",
        why="a unique constraint refuses the second run, on every database",
    ),
    "H33": Elsewhere(
        file=f"{STAGES}/test_copy_objects.py",
        test="test_row_in_place_whose_object_is_missing_is_parked",
        why="nobody else takes part; rows that come late are in H25's schedules",
    ),
    "H34": Elsewhere(
        file="tests/property/test_object_keys.py",
        test="test_new_key_is_in_place_for_every_template",
        why="a property of templates, not of schedules",
    ),
    "H35": Elsewhere(
        file=f"{STAGES}/test_copy_objects.py",
        test="test_delayed_write_dies_with_its_lease",
        why="a matter of cost; that the deadline holds is in H2's schedules",
    ),
}
