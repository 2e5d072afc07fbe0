"""How worlds stand when the schedules of a scenario begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import DeniedError
from app.ladder import Step
from app.testing import Fault
from tests.builders import make_run
from tests.model.scenario import N, O

if TYPE_CHECKING:
    from tests.model.ground import Ground


def two_assets(ground: Ground) -> None:
    """Another row with an object of its own."""
    ground.asset(2)


def climbing(ground: Ground) -> None:
    """The run comes to its rows in steps; the first one takes those of a client that has none, so that it ends at once."""
    steps = (Step(clients=("99",)), Step())
    ground.run_id = make_run(ground.context, steps=steps).id


def climbed(ground: Ground) -> None:
    """The run rests after a first step, which was row 1; row 2 is still to come."""
    ground.asset(2)
    ground.run_id = make_run(ground.context, steps=(Step(limit=1), Step())).id
    ground.messages.append((None, []))
    ground.go()


def chain(ground: Ground) -> None:
    """Row 2 has its object where row 1 is to get its own."""
    body = b"2.1"
    ground.sql("INSERT INTO assets (id, client_id, object_key) VALUES (2, 8, :key)", key=N)
    ground.store.app_put(N, body)
    ground.truth.rows[2] = "2"
    ground.truth.living[body] = N


def sharing(ground: Ground) -> None:
    """Row 2 names the object of row 1."""
    ground.sql("INSERT INTO assets (id, client_id, object_key) VALUES (2, 8, :key)", key=O)
    ground.truth.rows[2] = "1"


def same_name(ground: Ground) -> None:
    """Row 2 has an object of its own, and is to get the same new key (H25)."""
    ground.asset(2, "elsewhere/1.png")


def other_spelling(ground: Ground) -> None:
    """Row 2 has its object at its new key already, and names it by another spelling; it is long there."""
    body = b"2.1"
    ground.sql("INSERT INTO assets (id, client_id, object_key) VALUES (2, 7, '/clients/7/assets/2.png')")
    ground.store.app_put("clients/7/assets/2.png", body)
    ground.truth.rows[2] = "2"
    ground.truth.living[body] = "clients/7/assets/2.png"
    ground.later(100)


def upload_to_come(ground: Ground) -> None:
    """Row 2 names the key that row 1 is to get, and its upload is still to come (H5)."""
    ground.sql("INSERT INTO assets (id, client_id, object_key) VALUES (2, 7, :key)", key=N)


def died_before_copy(ground: Ground) -> None:
    """A worker has claimed row 1's move, and died before it could copy anything; the reconciler knows."""
    ground.seed()
    context = ground.context
    seconds = context.settings.lease_seconds
    context.moves.claim(ground.run, [1], stage="copy", lease_seconds=seconds, store_time=ground.store.store_time(), clock=ground.clock)
    ground.later(seconds + 5)
    ground.messages[:] = ground.tick().messages


def full(ground: Ground) -> None:
    """Two assets, and a mark of the whole journal."""
    ground.asset(2)
    ground.want_mark()


def marked(ground: Ground) -> None:
    """The run is to have a mark of its whole journal."""
    ground.want_mark()


def closed(ground: Ground) -> None:
    """Two assets; anybody may read the second one's old object, and not the new one."""
    ground.asset(2)
    ground.store.public = ("up/2.png",)


def stubborn(ground: Ground) -> None:
    """The database stores another key than it is given (H11)."""
    ground.sql(
        "CREATE TRIGGER cut AFTER UPDATE OF object_key ON assets WHEN new.object_key LIKE 'clients/%' "
        "BEGIN UPDATE assets SET object_key = substr(new.object_key, 1, 10) WHERE id = new.id; END"
    )


def denied(ground: Ground) -> None:
    """The delete of row 1's old object was refused: parked, and the run is over (H17)."""
    ground.store.faults.add(Fault.refuse(DeniedError), on="delete_key")
    ground.go()


def held(ground: Ground) -> None:
    """The run has kept row 1's old object, and is over."""
    ground.context.steering.hold(ground.run, hold=True)
    ground.go()


def long_held(ground: Ground) -> None:
    """The same, long ago."""
    held(ground)
    ground.later(300)


def rolling_back(ground: Ground) -> None:
    """A run is over, and is taken back."""
    ground.go()
    taken_back(ground)


def rolling_back_held(ground: Ground) -> None:
    """The same, where the old objects are still there."""
    held(ground)
    taken_back(ground)


def taken_back(ground: Ground) -> None:
    """Start the rollback of the ground's run, and let its workers serve that."""
    origin, ground.context = ground.run_id, ground._plain
    ground.take_back(origin)
    ground._plain = ground.context
    ground.context = ground.worker()
    ground.origin_id, ground.forward = origin, False
    ground.messages.clear()
