"""What the copies of a run have not and their sources had: one row for each such move, and none for all others.

It is written with the outcome of the copy, under the same lease: a move that is recorded as copied has told what it lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, insert, or_, select

from app.arrays import among
from app.database import transaction
from app.fidelity_rules import Attribute, names
from app.ledger.archiving import archived
from app.ledger.records import Run
from app.schema import losses, moves
from app.states import COPIED_STATES, MoveState

_COPIED = sorted(COPIED_STATES)
_FORGET = delete(losses).where(losses.c.run_no == bindparam("run"), among(losses.c.move_id, "ids"))


@dataclass(frozen=True, slots=True)
class Lost:
    """How many assets were moved without something, and without what."""

    moves: int
    attributes: Mapping[str, int]


def note(connection: Connection, found: Mapping[tuple[int, int], frozenset[Attribute]]) -> None:
    """Note what the copies of some moves, by run and number, have lost now; nothing is as good as no row."""
    for run_no in sorted({run_no for run_no, _ in found}):
        ids = sorted(move_id for of, move_id in found if of == run_no)
        connection.execute(_FORGET, {"run": run_no, "ids": ids})
    rows = [{"run_no": run_no, "move_id": move_id, "attributes": names(lost)} for (run_no, move_id), lost in sorted(found.items()) if lost]
    if rows:
        connection.execute(insert(losses), rows)


class LossLedger:
    """The rows of rekey_losses."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing is asked yet."""
        self.engine = engine

    def count(self, run: Run) -> Lost:
        """Count the moves of *run* whose copies stand and lack something."""
        stands = or_(moves.c.state.in_(_COPIED), and_(moves.c.state == MoveState.PARKED, moves.c.parked_from.in_(_COPIED)))
        question = (
            select(losses.c.attributes, func.count())
            .join(moves, and_(moves.c.run_no == losses.c.run_no, moves.c.id == losses.c.move_id))
            .where(losses.c.run_no == run.no, stands)
            .group_by(losses.c.attributes)
        )
        with transaction(self.engine, read_only=True) as connection:
            gone = archived(connection, run.id)
            counted = Counter({attributes: int(count) for attributes, count in connection.execute(question)})
            return summed(counted + Counter(gone.lost or {} if gone else {}))


def summed(by_text: Mapping[str, int]) -> Lost:
    """From how many moves lost just which attributes."""
    counted: Counter[str] = Counter()
    for text, count in by_text.items():
        counted.update(dict.fromkeys(text.split(","), count))
    return Lost(sum(by_text.values()), {str(one): counted[one] for one in Attribute if counted[one]})
