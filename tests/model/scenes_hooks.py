"""Schedules with a stage of the operator's own, for which deletes wait; and with what pauses a run while a delete is about to go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.choices import Bounds
from tests.model.own import NAME
from tests.model.scenario import ANY, O, Scenario

if TYPE_CHECKING:
    from tests.model.parties import Parties


def _waiting(parties: Parties) -> None:
    parties.worker("delete")
    parties.own(calls=2)
    parties.hint("delete", 1)
    parties.time(6)


def _switched_twice(parties: Parties) -> None:
    ground = parties.ground
    ground.raw.execute("UPDATE assets SET object_key = ? WHERE id = 1", (O,))  # saved back over the switch
    ground.do("delete")  # the look after the switch has seen that
    ground.messages.clear()
    parties.hint("rename", 1)
    parties.worker("rename")
    parties.own(calls=1)


def _paused_before_the_delete(parties: Parties) -> None:
    parties.worker("delete")
    parties.operator("pause")


WAITS = {"after_switch": NAME, "deletes_wait": True}
SCENARIOS = (
    Scenario(name="H17_deletes_wait_for_an_own_stage", stores=ANY, stage="delete", seconds=70, parties=_waiting, settings=WAITS),
    Scenario(
        name="H14_switched_twice_before_an_own_stage",
        stores=ANY,
        stage="delete",
        seconds=70,
        bounds=Bounds(faults=0),  # those of the own stage are in H17
        parties=_switched_twice,
        settings=WAITS,
    ),
    Scenario(
        name="H17_paused_before_the_delete",
        stores=ANY,
        stage="delete",
        seconds=70,
        bounds=Bounds(faults=0),  # those of deletes are in H7 and H28
        parties=_paused_before_the_delete,
        settings={"journal": True},
    ),
)
