"""Named scenarios: where a schedule begins, and who takes part. Those called after a hole (H) of the protocol contain its schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.pipeline import BY_NAME
from app.states import RunState
from app.testing.versions import CONDITIONAL, LIKE_MINIO
from tests.model.chance import no_chance
from tests.model.choices import CRASH, Bounds
from tests.model.explorer import Found, Report, explore, replay
from tests.model.ground import HELD_UP, LOST_REPLY, Ground
from tests.model.parties import Parties

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.testing import Behaviour
    from tests.model.execution import Execution

O, N = "up/1.png", "clients/7/assets/1.png"  # noqa: E741 - as the contract calls them
STORES = {"conditional": CONDITIONAL, "like_minio": LIKE_MINIO}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """*stage*: whose message lies ready when the parties begin; what comes before it has been done undisturbed."""

    name: str
    stage: str
    parties: Callable[[Parties], None]
    before: Callable[[Ground], None] = lambda _ground: None
    seconds: float = 0.0  # since the stage before
    settings: Mapping[str, object] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=Bounds)
    request_faults: tuple[str, ...] = (CRASH, LOST_REPLY)

    def ground(self, behaviour: Behaviour) -> Ground:
        """The world at the moment at which all schedules begin."""
        ground = Ground(Path(), behaviour=behaviour, settings=self.settings, request_faults=self.request_faults)
        ground.asset(1)
        self.before(ground)
        if self.stage == "seed":
            ground.messages.append((None, []))
        else:
            work = BY_NAME[self.stage]
            ground.seed()
            for stage in BY_NAME.values():
                if stage is work:
                    break
                ground.do(stage.name)
            ids = [move.id for move in ground.moves() if move.state is work.state]
            ground.later(self.seconds)
            ground.messages[:] = [(work, ids)]
        ground.keep()
        return ground

    def explore(self, behaviour: Behaviour, *, bounds: Bounds | None = None, most: int | None = None) -> tuple[Report, Ground]:
        """Play all schedules within the bounds."""
        ground = self.ground(behaviour)
        with no_chance(ground.tokens), ground.transactions.installed():
            return explore(self._play(ground), bounds=bounds or self.bounds, most=most), ground

    def replay(self, behaviour: Behaviour, choices: Sequence[int]) -> Found | None:
        """Play one schedule again."""
        ground = self.ground(behaviour)
        with no_chance(ground.tokens), ground.transactions.installed():
            return replay(self._play(ground), choices)

    def _play(self, ground: Ground) -> Callable[[Execution], Callable[[], object]]:
        def play(execution: Execution) -> Callable[[], object]:
            ground.begin(execution)
            self.parties(Parties(ground, execution))
            return ground.ends.settle

        return play


def _two_copiers(parties: Parties) -> None:
    parties.worker("copy", name="copy 1")
    parties.worker("copy", name="copy 2")
    parties.worker("rename")
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.time(31)


def _delayed_copy(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.network()
    parties.hint("copy", 1)
    parties.time(31)
    parties.party("writer", lambda: parties.overwrite(1, 2))


def _upload_to_new_key(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.party("stranger", lambda: parties.put(N, "stranger.1"))


def _re_pointed(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("application", lambda: parties.re_point(1, "other/1.png", "another"))
    parties.reader(1)


def _row_removed(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("application", lambda: parties.delete_row(1))
    parties.time(31)


def _overwritten_before_switch(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("copy")
    parties.party("writer", lambda: parties.overwrite(1, 2))
    parties.reader(1)


def _saved_back(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.save_back(1))
    parties.hint("delete", 1)
    parties.time(61)


def _late_writes(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.party("slow writer", lambda: parties.overwrite(1, 2))
    parties.party("fresh writer", lambda: parties.overwrite(1, 3))
    parties.hint("delete", 1)
    parties.time(31)


def _second_row(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.second_row(1, 2))
    parties.hint("delete", 1)
    parties.time(59)


def _end_of_grace(parties: Parties) -> None:
    parties.worker("rename")
    parties.worker("delete")
    parties.reader(1)
    parties.hint("delete", 1, times=2)
    parties.time(6, 30)


def _two_deleters(parties: Parties) -> None:
    parties.worker("delete", name="delete 1")
    parties.worker("delete", name="delete 2")
    parties.reader(1)
    parties.reader(2, name="reader 2")
    parties.time(31)


def _row_at_new_key(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.party("application", lambda: parties.new_row(2, N, "2"))
    parties.reader(1)


def _cancelled(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.steer(RunState.CANCELLED)
    parties.party("writer", lambda: parties.overwrite(1, 2))


def _chain(ground: Ground) -> None:
    """Row 2 has its object where row 1 is to get its own."""
    body = b"2.1"
    ground.sql("INSERT INTO assets (id, client_id, object_key) VALUES (2, 8, :key)", key=N)
    ground.store.app_put(N, body)
    ground.truth.rows[2] = "2"
    ground.truth.living[body] = N


def _chain_moves(parties: Parties) -> None:
    parties.worker("copy")
    parties.worker("rename")
    parties.worker("delete")
    parties.hint("copy", 1, 2)
    parties.reader(1)
    parties.reader(2, name="reader 2")
    parties.time(61)


def _sharing(ground: Ground) -> None:
    ground.sql("INSERT INTO assets (id, client_id, object_key) VALUES (2, 8, :key)", key=O)
    ground.truth.rows[2] = "1"


ALL = (
    Scenario(name="H1_late_writes", stage="rename", parties=_late_writes),
    Scenario(name="H2_request_outlives_its_lease", stage="copy", parties=_delayed_copy, request_faults=(HELD_UP,)),
    Scenario(name="H4_upload_to_the_new_key", stage="copy", parties=_upload_to_new_key),
    Scenario(name="H5_row_on_the_new_key_before_its_upload", stage="copy", parties=_row_at_new_key),
    Scenario(name="H8_overwritten_before_the_switch", stage="rename", parties=_overwritten_before_switch),
    Scenario(name="H10_re_pointed_before_the_switch", stage="rename", parties=_re_pointed),
    Scenario(name="H12_two_copiers_and_a_crash", stage="copy", parties=_two_copiers),
    Scenario(name="H13_two_deleters_of_a_shared_object", stage="delete", parties=_two_deleters, before=_sharing, seconds=70),
    Scenario(name="H14_row_saved_back", stage="rename", parties=_saved_back),
    Scenario(name="H16_end_of_the_grace", stage="rename", parties=_end_of_grace),
    Scenario(name="H17_cancelled_at_any_call", stage="copy", parties=_cancelled),
    Scenario(name="H19_chain", stage="copy", parties=_chain_moves, before=_chain),
    Scenario(name="H24_row_removed_before_the_switch", stage="rename", parties=_row_removed),
    Scenario(name="H29_second_row_on_the_old_object", stage="rename", parties=_second_row),
)
BY_SCENARIO = {scenario.name: scenario for scenario in ALL}
