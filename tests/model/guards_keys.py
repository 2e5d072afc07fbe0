"""The guards of what is said of keys, each taken out in turn, and the scenario on which that shows."""

from __future__ import annotations

from tests.model.guards import BACK, CLEAN, C, M, _guard

ALL = (
    _guard(
        "write over an old object that another row goes back to",
        f"{BACK}:with_what_is_there",
        " and not _is_shared(batch, move)",
        "",
        ("H29_shared_object_when_one_is_back", C),
    ),
    _guard(
        "take everybody at the old key for one who shared it",
        f"{BACK}:strangers_in",
        "if (hashed, naming.row_id) not in here_before",
        "if False",
        ("H29_shared_old_key_used_again", C),
    ),
    _guard(
        "remove a copy that another row is about to name",
        f"{CLEAN}:_remove",
        "if claims.wanted_too(move):",
        "if False:",
        ("H29_shared_object_and_one_row_re_pointed", M),
    ),
    _guard(
        "let the seed of one step go on in the next",
        "app.ledger.ladders:_go_on",
        "after = seeding.seed_pass + 1",
        "after = seeding.seed_pass",
        ("H27_seeds_of_two_steps", M),
        faults=0,
    ),
)
