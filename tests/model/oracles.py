"""What must hold after every step, beside the bytes themselves: of the switch (S1, S5), the delete (S4) and the journal (H15)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.database import MICROSECONDS
from app.looks import MAX_AGE_SECONDS
from app.states import MoveState, RunState
from app.testing.requests import EPOCH
from tests.model.choices import ViolationError, WindowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.model.ground import Ground
    from tests.model.truth import Truth
    from tests.model.views import Ledger, View

ANSWERED_WITHIN = 10.0  # a request arrives so long after it was signed at most, else the store refuses it
TOUCHED, TAKEN, LOOKED, SHOWN = "touched", "taken", "looked", "shown"  # what a step may be, to those who look on


@dataclass(frozen=True, slots=True)
class Ghosts:
    """What the checks remember of a schedule. The parties are those that looked at the key's object since."""

    touched: tuple[tuple[str, float, frozenset[str]], ...] = ()  # keys that the application wrote to, or named, and when it last did
    taken: tuple[tuple[str, frozenset[str]], ...] = ()  # keys whose object the application took away
    damaged: frozenset[int] = frozenset()  # rows whose object was deleted while they named it
    told: frozenset[str] = frozenset()  # parties that have claimed moves since deletes were last held
    asked: frozenset[str] = (
        frozenset()
    )  # parties that have asked the ledger of the run since it was paused, or its deletes held, and is still
    shown: frozenset[str] = frozenset()  # keys that rows have left, and that the operator's function has seen since
    promised: frozenset[tuple[str, str, float]] = frozenset()  # keys that rows left, what readers of them expect there, and until when

    def touch(self, key: str, at: float) -> Ghosts:
        """The application writes to a key, or lets a row name it."""
        others = [each for each in self.touched if each[0] != key]
        return replace(self, touched=tuple(sorted([*others, (key, at, frozenset())], key=lambda each: each[0])))

    def take(self, key: str) -> Ghosts:
        """The application takes the object away."""
        others = [each for each in self.taken if each[0] != key]
        return replace(self, taken=tuple(sorted([*others, (key, frozenset())], key=lambda each: each[0])))

    def leave(self, left: Iterable[tuple[str, str]]) -> Ghosts:
        """Rows have left keys: what the operator's function saw before was another switch."""
        keys = {key for key, _ in left}
        return replace(self, shown=self.shown - keys) if self.shown & keys else self

    def promise(self, left: Iterable[tuple[str, str]], *, now: float, until: float) -> Ghosts:
        """Rows have left keys: who read one of them before gets its object within the grace."""
        kept = {each for each in self.promised if each[2] >= now}
        return replace(self, promised=frozenset(kept | {(key, asset, until) for key, asset in left}))

    def look(self, who: str, thing: str, name: Callable[[str], str]) -> Ghosts:
        """Somebody asks for an object."""
        touched = tuple((key, at, by | {who} if name(key) == thing else by) for key, at, by in self.touched)
        taken = tuple((key, by | {who} if name(key) == thing else by) for key, by in self.taken)
        return replace(self, touched=touched, taken=taken)


class Oracles:
    """Looks on."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.tools: set[str] = set()  # the names of our own parties
        self.ghosts = Ghosts()

    def remember(self, ghosts: Ghosts, events: tuple[tuple[str, ...], ...], who: str, now: float) -> Ghosts:
        """*ghosts* after a step."""
        for event, key in events:
            if event == TOUCHED:
                ghosts = ghosts.touch(key, now)
            elif event == TAKEN:
                ghosts = ghosts.take(key)
            elif event == SHOWN:
                ghosts = replace(ghosts, shown=ghosts.shown | {key})
            elif ghosts.touched or ghosts.taken:
                ghosts = ghosts.look(who, key, self._ground.behaviour.name)
        return ghosts

    def check(self, keys: Mapping[int, str], contents: Mapping[str, bytes], truth: Truth, ghosts: Ghosts, now: float) -> None:
        """Rows, objects, and what the application knows go together (S1, S2, S3)."""
        ground = self._ground
        lost = truth.lost(contents)
        if lost:
            body, key = lost
            window = ground.lenient and (ground.any_store or (not ground.behaviour.delete_if_match and in_window(ghosts, key, now)))
            kind = WindowError if window else ViolationError
            raise kind(f"S2: {body.decode()}, written to {key}, is nowhere any more")
        if not ground.lenient:
            truth.check_rows(keys, contents)
            for key, asset, until in ghosts.promised:
                if now <= until:
                    truth.check_reader(key, asset, contents.get(ground.behaviour.name(key)))

    def remember_claims(self, before: View, now: View, who: str) -> Ghosts:
        """What is remembered when the ledger has changed: who can know by now that deletes are held."""
        if not any(run.held_until for run in now.runs.values()):
            return now.ghosts
        later = any(run.held_until > before.runs[no].held_until for no, run in now.runs.items() if no in before.runs)
        told = frozenset() if later else now.ghosts.told
        if _claimed(before, now):
            told |= {who}
        return now.ghosts if told == now.ghosts.told else replace(now.ghosts, told=told)

    def remember_asking(self, before: View, now: View, who: str, *, asks: bool) -> Ghosts:
        """What is remembered of a step that may have asked the ledger how the run stands (*asks*)."""
        if not self.stops(now):
            return replace(now.ghosts, asked=frozenset()) if now.ghosts.asked else now.ghosts
        asked = now.ghosts.asked if self.stops(before) else frozenset()
        if asks and who in self.tools:
            asked |= {who}
        return now.ghosts if asked == now.ghosts.asked else replace(now.ghosts, asked=asked)

    def stops(self, view: View) -> bool:
        """Whether no delete may begin."""
        boot, skew = view.clock
        now = (EPOCH + boot + skew) * MICROSECONDS
        return any(run.state == RunState.PAUSED or run.held_until > now for run in view.runs.values())

    def check_visits(self, now: View) -> None:
        """What the operator's own stage has not seen since its last switch is noted."""
        visits = now.visits
        for move in now.moves:
            if move.state == MoveState.RENAMED and move.no not in visits and move.old_key not in now.ghosts.shown:
                raise ViolationError(f"row {move.row} was switched, and nothing says that the operator's own stage is to see it")

    def check_steering(self, before: View, now: View) -> None:
        """No move of a paused run is taken in hand (H17): what a canary has seen stops everybody."""
        paused = {no for no, run in before.runs.items() if run.state == RunState.PAUSED}
        taken = [move.no[1] for move in _claimed(before, now) if move.no[0] in paused] if paused else []
        if taken:
            raise ViolationError(f"H17: move {taken[0]} is taken in hand, and its run is paused")

    def check_mark(self, now: View, told: str) -> None:
        """A run's mark is put before it has moves; as long as it is there, the journal says of every delete that it was meant (H15)."""
        contents = now.contents()
        for no, run in now.runs.items():
            moves = [move for move in now.moves if move.no[0] == no]
            if not moves or run.mark not in contents:
                continue
            if told.partition("  <- ")[0] == f"put {run.mark}":
                raise ViolationError("H15: the mark that the journal is whole comes when moves are there already")
            for move in moves:
                if move.state == MoveState.DELETED and not any(move.old_key.encode() in body for body in now.journal):
                    raise ViolationError(f"H15: the journal counts as whole, and does not say that {move.old_key} was deleted")

    def check_leases(self, before: View, now: View) -> None:
        """Nobody takes what another holds (S7)."""
        boot, skew = now.clock
        at = (EPOCH + boot + skew) * MICROSECONDS
        held = {move.no: move for move in before.moves if move.lease_token is not None}
        for move in now.moves:
            holder = held.get(move.no)
            if move.lease_token is not None and holder and move.lease_token != holder.lease_token and holder.lease_until > at:
                raise ViolationError(f"S7: {move.lease_token} takes move {move.no[1]}, which {holder.lease_token} holds")

    def check_ledger(self, before: View, now: View, who: str) -> None:
        """Rows and ledger are switched together, and to the right key (S5, H10)."""
        changed = {number for number, row in now.rows.items() if before.rows.get(number, row).key != row.key}
        copied = {move.no for move in before.moves if move.state == "copied"}
        for move in now.moves:
            row = now.rows.get(move.row)
            if move.no not in copied:
                continue
            if move.state in {"renamed", "in_place"} and row is not None and row.key == move.old_key != move.new_key:
                raise ViolationError(f"S5: the ledger says {move.state}, and row {move.row} names {move.old_key}")
            if row is None or move.row not in changed or move.no[0] != self._ground.run_number:
                continue
            changed.discard(move.row)
            if move.state == "copied":
                raise ViolationError(f"S5: row {move.row} was switched to {move.new_key}, and the ledger says {move.state}")
            self._check_switch(now, who, move)
            if self._ground.forward and not move.new_key.startswith(f"clients/{row.client}/"):
                raise ViolationError(f"H10: row {move.row} of client {row.client} was switched to {move.new_key}")

    def _check_switch(self, now: View, who: str, move: Ledger) -> None:
        """A write that a switch need not have overlapped shows at the new key at once (S1, S2)."""
        row, old, new = move.row, move.old_key, move.new_key
        taken = dict(now.ghosts.taken)
        if who in taken.get(old, ()) and now.object_at(old) is None:
            raise ViolationError(f"H24: row {row} was switched to {new}, and its object had been taken down")
        if who in taken.get(new, ()) and now.object_at(new) is None:
            raise ViolationError(f"H22: row {row} was switched to {new}, and our copy there had been removed")
        for key, at, by in now.ghosts.touched:
            seen = key == old and (who in by or now.clock[0] - at > MAX_AGE_SECONDS)
            if seen and now.object_at(old) not in {None, now.object_at(new)}:
                raise ViolationError(f"S1: row {row} was switched to {new}, which lacks what was at {old} when that was looked at last")

    def check_delete(self, now: View, key: str, who: str) -> frozenset[int]:
        """What our parties delete is nobody's (S4), and noted (H15); gives the rows that it was of all the same."""
        ground = self._ground
        if now.object_at(key) is not None:
            return frozenset()
        name = ground.behaviour.name
        damaged = {number for number, row in now.rows.items() if name(row.key) == name(key) and number in now.truth.rows}
        for number in damaged:
            self._damage(now, number, key)
        of_runs = {move.no[0] for move in now.moves if move.old_key == key}
        marked = any(now.runs[no].mark in now.contents() for no in of_runs) or ground.behaviour.room is None
        if ground.context.settings.journal and of_runs and marked and not any(key.encode() in body for body in now.journal):
            raise ViolationError(f"H15: {key} is deleted, and the journal does not say so")
        boot, skew = now.clock
        if who in now.ghosts.told and any(now.runs[no].held_until > (EPOCH + boot + skew) * MICROSECONDS for no in of_runs):
            raise ViolationError(f"H16: {key} is deleted by who could know that deletes are held")
        if of_runs and who in now.ghosts.asked:
            raise ViolationError(f"H17: {key} is deleted by who has asked since the run is paused, or its deletes held")
        if of_runs and ground.context.settings.deletes_wait and key not in now.ghosts.shown:
            raise ViolationError(f"{key} is deleted, and the operator's own stage has not seen its asset")
        return frozenset(damaged)

    def check_copy(self, before: View, now: View) -> None:
        """Nothing of ours comes to be where a row of another asset is long waiting for its upload (S3, H5)."""
        name, there, here = self._ground.behaviour.name, before.contents(), now.contents()
        for move in now.moves if self._ground.forward else ():
            key = name(move.new_key) if move.new_key else ""
            if key not in here or key in there or in_window(now.ghosts, move.new_key, now.clock[0]):
                continue
            others = [number for number, row in now.rows.items() if name(row.key) == key and number != move.row]
            if others:
                raise ViolationError(f"S3: the copy of row {move.row} is written to {move.new_key}, which row {others[0]} names")

    def _damage(self, now: View, number: int, key: str) -> None:
        """Within the window a row may come to name what is deleted: where deletes have no conditions, its object is gone (H23)."""
        near = in_window(now.ghosts, key, now.clock[0])
        if self._ground.lenient and near and not self._ground.behaviour.delete_if_match:
            raise WindowError(f"the object that row {number} names is deleted")
        if not self._ground.lenient or not near:
            raise ViolationError(f"S4: {key} is deleted, and row {number} names it")


def _claimed(before: View, now: View) -> list[Ledger]:
    """The moves that somebody has taken in hand by a step."""
    held = {move.no: move.lease_token for move in before.moves}
    return [move for move in now.moves if move.lease_token is not None and move.lease_token != held.get(move.no)]


def in_window(ghosts: Ghosts, key: str, now: float) -> bool:
    """Whether the application came to *key* after the look that a request of now may rely on."""
    return any(now - at <= MAX_AGE_SECONDS + ANSWERED_WITHIN for touched, at, _ in ghosts.touched if touched == key)
