"""Schedules of whole runs: the seed, the reconciler, pause, cancel, retry, release and rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import beginnings
from tests.model.choices import Bounds
from tests.model.scenario import ANY, N, O, Scenario

if TYPE_CHECKING:
    from tests.model.parties import Parties


def _cancelled(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.operator("cancel")
    parties.party("writer", lambda: parties.overwrite(1, 2))


def _cancelled_and_named(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.operator("cancel")
    parties.party("application", lambda: parties.point_if_there(1, N))
    parties.hint("rename", 1)


def _paused(parties: Parties) -> None:
    parties.worker("rename")
    parties.beat(ticks=1)
    parties.operator("pause", "resume")
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.time(31)


def _cancelled_after_pause(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.beat(ticks=1)
    parties.operator("pause", "cancel")
    parties.time(6)


def _retried(parties: Parties) -> None:
    parties.operator("retry")
    parties.beat(ticks=2)
    parties.worker("copy")
    parties.worker("delete")
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.time(6, 61)


def _released(parties: Parties) -> None:
    parties.operator("release")
    parties.beat(ticks=2)
    parties.worker("delete")
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.time(6, 6)


def _released_after_all(parties: Parties) -> None:
    parties.operator("release")
    parties.beat(ticks=1)
    parties.worker("delete")
    parties.party("application", lambda: parties.re_use(O, "9", 9), lambda: parties.leave(9))
    parties.hint("delete", 1)
    parties.time(31)


def _seeds(parties: Parties) -> None:
    parties.seed(name="seed 1")
    parties.seed(name="seed 2")
    parties.hint("seed")
    parties.party("application", lambda: parties.new_row(3, "up/3.png", "3"))


def _held_seed(parties: Parties) -> None:
    parties.seed()
    parties.worker("copy")
    parties.beat(ticks=1)
    parties.time(61)


def _climbs(parties: Parties) -> None:
    parties.seed(name="seed 1")
    parties.seed(name="seed 2")
    parties.hint("seed")
    parties.beat(ticks=1)
    parties.time(6)


def _climbs_on(parties: Parties) -> None:
    parties.operator("resume")
    parties.seed()
    parties.hint("seed")
    parties.worker("copy")
    parties.beat(ticks=1)
    parties.time(6)


def _rests(parties: Parties) -> None:
    parties.worker("rename")
    parties.beat(ticks=2)
    parties.party("service", lambda: parties.say(1, "busy"), lambda: parties.say(1, ""))
    parties.operator("cancel")
    parties.time(6)


def _losses(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.beat(ticks=1)
    parties.time(61)


def _suspects(parties: Parties) -> None:
    parties.worker("copy", name="copy 1")
    parties.worker("copy", name="copy 2")
    parties.beat(ticks=1)
    parties.time(31)


def _taken_back(parties: Parties) -> None:
    parties.seed()
    parties.worker("copy")
    parties.worker("rename")
    parties.late_message("delete", parties.ground.origin_id, 1)
    parties.party("writer", lambda: parties.overwrite(1, 2))


def _taken_back_and_used_again(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.new_row(9, O, "9"))
    parties.time(61)


def _taken_back_and_saved(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.save_back(1))
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.time(61)


SCENARIOS = (
    Scenario(name="H17_cancelled_at_any_call", stage="copy", parties=_cancelled),
    Scenario(name="H17_cancelled_when_the_application_switched", stores=ANY, stage="copy", parties=_cancelled_and_named),
    Scenario(name="H17_cancelled_while_paused", stores=ANY, stage="rename", parties=_cancelled_after_pause),
    Scenario(name="H17_paused_and_resumed", stores=ANY, stage="rename", parties=_paused),
    Scenario(name="H17_retried_after_a_refused_delete", stores=ANY, stage="none", parties=_retried, before=beginnings.denied),
    Scenario(name="H17_released", stores=ANY, stage="none", parties=_released, before=beginnings.held),
    Scenario(
        name="H1_released_when_the_key_was_used_again", stores=ANY, stage="none", parties=_released_after_all, before=beginnings.long_held
    ),
    Scenario(name="H25_two_seeds_and_one_new_key", stores=ANY, stage="seed", parties=_seeds, before=beginnings.same_name),
    Scenario(name="H26_lost_messages", stores=ANY, stage="copy", parties=_losses),
    Scenario(
        name="H27_seed_held_at_the_mark",
        bounds=Bounds(faults=0),  # those of seed and copies are in H25, H26 and H28
        stores=ANY,
        stage="seed",
        parties=_held_seed,
        before=beginnings.two_assets,
        settings={"max_in_flight": 1},
    ),
    Scenario(name="H27_seeds_of_two_steps", stores=ANY, stage="seed", parties=_climbs, before=beginnings.climbing),
    Scenario(name="H27_step_after_step", bounds=Bounds(faults=0), stores=ANY, stage="none", parties=_climbs_on, before=beginnings.climbed),
    Scenario(
        name="H17_rests_goes_on_and_is_cancelled",
        bounds=Bounds(faults=0),
        stores=ANY,
        stage="rename",
        parties=_rests,
        settings={"probe_sql": "SELECT count(*) = 0 FROM assets WHERE title = 'busy'"},
    ),
    Scenario(name="H28_lost_leases", stores=ANY, stage="copy", parties=_suspects, before=beginnings.two_assets),
    Scenario(name="H18_taken_back", stage="seed", parties=_taken_back, before=beginnings.rolling_back),
    Scenario(name="H18_taken_back_while_held", stage="seed", parties=_taken_back, before=beginnings.rolling_back_held),
    Scenario(name="H18_old_key_used_again", stage="copy", parties=_taken_back_and_used_again, before=beginnings.rolling_back),
    Scenario(name="H18_taken_back_and_saved", stores=ANY, stage="rename", parties=_taken_back_and_saved, before=beginnings.rolling_back),
)
