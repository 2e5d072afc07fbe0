"""Who else lays claim to an object: rows of the whole table and of REFERENCES, and live moves (S3, S4, H5, H6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from app.assets import Naming
from app.database import transaction
from app.ledger.moves import LARGE_FAMILY, Other
from app.ledger.records import Move
from app.planning import Rules
from app.stages.context import Context
from app.states import OPEN_STATES, MoveState


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The rows and live moves that name some objects, as asked at boot-clock time ``asked_at``."""

    rules: Rules
    rows: dict[str, list[Naming]]  # by canonical key
    leaving: dict[bytes, list[Other]]  # live moves, and those parked after their switch, by their old key
    coming: dict[bytes, list[Other]]  # live moves by their new key
    asked_at: float

    def rows_naming(self, key: str) -> list[Naming]:
        """Rows that name the object of *key*, in any spelling."""
        return self.rows.get(self.rules.equivalence.canonical(key), [])

    def named_by_others(self, move: Move, key: str) -> list[Naming]:
        """Rows other than *move*'s own that name the object of *key*."""
        return [naming for naming in self.rows_naming(key) if naming.row_id != move.row_id]

    def blocker(self, move: Move) -> Other | None:
        """A live move, not this one, whose old object is at *move*'s new key: it must go first (H19)."""
        leaving = self.leaving.get(move.new_hash, [])
        return next((other for other in leaving if other.state in OPEN_STATES and not is_self(move, other)), None)

    def leaving_too(self, move: Move) -> list[Other]:
        """Other moves with the same old object, live or parked after their switch (H13, H29)."""
        return [other for other in self.leaving.get(move.old_hash, []) if not is_self(move, other)]

    def is_crowded(self, move: Move) -> bool:
        """Whether so many moves share the old object that they are not decided together."""
        return len(self.leaving.get(move.old_hash, [])) > LARGE_FAMILY

    def owner(self, move: Move) -> Other | None:
        """A live move that has written its copy at *move*'s old key: the object there is that move's (H1c)."""
        written = {MoveState.COPIED, MoveState.RENAMED}
        return next((other for other in self.coming.get(move.old_hash, []) if not is_self(move, other) and other.state in written), None)

    def wanted_too(self, move: Move) -> list[Other]:
        """Other live moves that go to *move*'s new key: of a rollback, where several rows named one object."""
        return [other for other in self.coming.get(move.new_hash, []) if not is_self(move, other)]


def is_self(move: Move, other: Other) -> bool:
    """Whether *other* is *move*."""
    return (move.run_no, move.id) == (other.run_no, other.id)


def who_claims(context: Context, moves: Sequence[Move], keys: Collection[str], *, of_old: bool = True, of_new: bool = False) -> Claims:
    """Ask rows and ledger who names the objects of *keys* and *moves*, in one READ COMMITTED transaction on the primary (H20).

    *of_old*: whether it matters who lays claim to the old objects too. *of_new*: who else goes to the new keys.
    """
    asked_at = context.clock.boot()
    old, new = {move.old_hash for move in moves if of_old}, {move.new_hash for move in moves}
    wanted = old | new if of_new else old
    with transaction(context.moves.engine, read_only=True) as connection:
        leaving = context.moves.sharing_old(connection, old | new)
        coming = context.moves.wanting_new(connection, wanted)
        rows = context.assets.naming(connection, keys)
    return Claims(
        rules=context.rules,
        rows=rows,
        leaving=_by(leaving, lambda other: other.old_hash),
        coming=_by(coming, lambda other: other.new_hash),
        asked_at=asked_at,
    )


def _by(others: Sequence[Other], key: Callable[[Other], bytes]) -> dict[bytes, list[Other]]:
    grouped: dict[bytes, list[Other]] = {}
    for other in others:
        grouped.setdefault(key(other), []).append(other)
    return grouped
