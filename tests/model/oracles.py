"""What must hold after every step, beside the bytes themselves: of the switch (S1, S5), the delete (S4) and the journal (H15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.database import MICROSECONDS
from app.stages.context import LOOK_AGE_SECONDS
from app.testing.requests import EPOCH
from tests.model.choices import ViolationError, WindowError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.choices import Actor, Touch
    from tests.model.ground import Ground

ANSWERED_WITHIN = 10.0  # a request arrives so long after it was signed at most, else the store refuses it
LEASES = "SELECT run_no, id, lease_token, lease_until FROM rekey_moves WHERE lease_token IS NOT NULL"
CHANGES = "SELECT run_no, id, row_id, state, old_key, new_key FROM rekey_moves"


class Oracles:
    """Looks on; remembers of a schedule what its checks need."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.tools: set[str] = set()  # the names of our own parties
        self.begin()

    def begin(self) -> None:
        """A new schedule."""
        ground = self._ground
        self.touched_at: dict[str, tuple[int, float]] = {}  # step and time in which the application last wrote to a key, or named it
        self.taken_at: dict[str, int] = {}  # the step in which the application took the object away
        self.looks: dict[tuple[str, str], int] = {}  # the step in which a party last asked for an object
        self.damaged: set[int] = set()  # rows whose object was deleted while they named it
        self._keys = ground.keys()
        self._leases = self._read_leases()
        self._states = {(run_no, number): state for run_no, number, _, state, _, _ in ground.raw.execute(CHANGES)}

    def touches(self, key: str) -> None:
        """The application writes to a key, or lets a row name it."""
        execution = self._ground.execution
        assert execution is not None
        self.touched_at[key] = (len(execution.story), self._ground.clock.boot())

    def after_step(self, actor: Actor, touches: Sequence[Touch]) -> None:
        """Check what the step has changed."""
        ground = self._ground
        written = {name for name, write in touches if write}
        ground.contents_of.forget(written)
        rows, ledger = "table assets" in written, "table rekey_moves" in written
        objects = any(name.startswith("object ") for name in written)
        if objects and actor.name in self.tools:
            self._check_delete()
        if rows or objects:
            ground.check_now()
        if (rows or ledger) and actor.name in self.tools:
            self._check_ledger(actor.name)
        if rows:
            self._keys = ground.keys()
        if ledger:
            self._check_leases()
        if rows or ledger:
            self._states = {(run_no, number): state for run_no, number, _, state, _, _ in ground.raw.execute(CHANGES)}

    def _read_leases(self) -> dict[tuple[int, int], tuple[str, int]]:
        return {(run_no, number): (token, until) for run_no, number, token, until in self._ground.raw.execute(LEASES)}

    def _check_leases(self) -> None:
        """Nobody takes what another holds (S7)."""
        ground, before = self._ground, self._leases
        self._leases = self._read_leases()
        now = (EPOCH + ground.clock.boot() + ground.database_clock.skew) * MICROSECONDS
        for move, (token, _) in self._leases.items():
            held_by, until = before.get(move, (token, 0))
            if token != held_by and until > now:
                raise ViolationError(f"S7: {token} takes move {move[1]}, which {held_by} holds")

    def _check_ledger(self, who: str) -> None:
        keys = self._ground.keys()
        moved = dict(self._ground.raw.execute("SELECT id, client_id FROM assets"))
        changed = {number for number, key in keys.items() if self._keys.get(number, key) != key}
        for run_no, move_id, row_id, state, old, new in self._ground.raw.execute(CHANGES):
            number = int(row_id[1:-1])
            if self._states.get((run_no, move_id)) != "copied":
                continue
            if state in {"renamed", "in_place"} and keys.get(number) == old != new:
                raise ViolationError(f"S5: the ledger says {state}, and row {number} names {old}")
            if number not in changed or run_no != self._ground.run_number:
                continue
            changed.discard(number)
            if state == "copied":
                raise ViolationError(f"S5: row {number} was switched to {new}, and the ledger says {state}")
            self._check_switch(who, number, old, new)
            if self._ground.forward and not new.startswith(f"clients/{moved[number]}/"):
                raise ViolationError(f"H10: row {number} of client {moved[number]} was switched to {new}")

    def _check_switch(self, who: str, number: int, old: str, new: str) -> None:
        """A write that a switch need not have overlapped shows at the new key at once (S1, S2)."""
        ground = self._ground
        looked = self.looks.get((who, ground.behaviour.name(old)), -1)
        if -1 < self.taken_at.get(old, -1) < looked and ground.object_at(old) is None:
            raise ViolationError(f"H24: row {number} was switched to {new}, and its object had been taken down")
        if -1 < self.taken_at.get(new, -1) < self.looks.get((who, ground.behaviour.name(new)), -1) and ground.object_at(new) is None:
            raise ViolationError(f"H22: row {number} was switched to {new}, and our copy there had been removed")
        step, at = self.touched_at.get(old, (-1, 0.0))
        seen = -1 < step < looked or (step > -1 and ground.clock.boot() - at > LOOK_AGE_SECONDS)
        if seen and ground.object_at(old) not in {None, ground.object_at(new)}:
            raise ViolationError(f"S1: row {number} was switched to {new}, which lacks what was at {old} when that was looked at last")

    def _check_delete(self) -> None:
        ground = self._ground
        assert ground.execution is not None
        name, _, key = ground.execution.story[-1][1].partition(" ")
        key = key.partition("  <- ")[0]
        if name != "delete" or ground.object_at(key) is not None:
            return
        for number, named in ground.keys().items():
            if ground.behaviour.name(named) == ground.behaviour.name(key) and number in ground.truth.rows:
                self.damaged.add(number)
                self._damage(number, key)
        is_old = any(old == key for *_, old, _ in ground.raw.execute(CHANGES))
        noted = any(key.encode() in body for name, body in ground.contents().items() if name.startswith(".rekey/journal/"))
        if ground.context.settings.journal and is_old and not noted:
            raise ViolationError(f"H15: {key} is deleted, and the journal does not say so")

    def _damage(self, number: int, key: str) -> None:
        """Within the window a row may come to name what is deleted: where deletes have no conditions, its object is gone (H23)."""
        if self._ground.lenient and self.in_window(key) and not self._ground.behaviour.delete_if_match:
            raise WindowError(f"the object that row {number} names is deleted")
        if not self._ground.lenient or not self.in_window(key):
            raise ViolationError(f"S4: {key} is deleted, and row {number} names it")

    def in_window(self, key: str) -> bool:
        """Whether the application came to *key* after the look that a request of now may rely on."""
        _, at = self.touched_at.get(key, (-1, float("-inf")))
        return self._ground.clock.boot() - at <= LOOK_AGE_SECONDS + ANSWERED_WITHIN
