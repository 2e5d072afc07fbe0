"""What may be counted on in the ledger, as plain Python: a list of entries, a clock, comparisons. No SQL, nothing of ``app.ledger``.

Written from the contract (S6 to S9): who may act on a move, what is due when, which moves may be open together, how runs begin and end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

OPEN = ("planned", "copied", "renamed")
STAGE_OF = {"planned": "copy", "copied": "rename", "renamed": "delete"}
HINT_SECONDS = 60
LONGEST_HINT_SECONDS = 900  # a message that is lost again and again is sent again each quarter of an hour


class RefusedError(Exception):
    """The operation leaves everything as it was."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One row's move."""

    run: int
    id: int
    row: str
    old: str
    new: str
    state: str
    stage: str | None = None
    parked_from: str | None = None
    reason: str | None = None
    waiting: bool = False
    copied_once: bool = False  # a version of a copy is on record
    follows: bool = False  # of a rollback: another of its moves, which left the same object, has the claim on it
    had: bool = False  # a worker has claimed it
    holder: str | None = None
    held_until: float = 0.0
    kept: bool = False  # the lease runs to its end, whatever happens: a request is unanswered
    not_before: float = 0.0
    due: float = 0.0
    hints: int = 0
    suspect: bool = False
    deaths: int = 0

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done."""
        return self.state in OPEN

    @property
    def wants(self) -> str | None:
        """The new object that nobody else may want meanwhile."""
        return self.new if self.is_open and self.new and not self.follows else None

    def is_free(self, now: float) -> bool:
        """Whether nobody may act on it: no lease, or one kept for an unanswered request that is over."""
        return self.holder is None or (self.kept and self.held_until < now)

    def is_lost(self, now: float) -> bool:
        """Whether whoever held it is gone without a word."""
        return self.is_open and self.holder is not None and not self.kept and self.held_until < now

    def is_due(self, now: float) -> bool:
        """Whether a message for it is to be sent."""
        return self.is_open and self.due <= now and (self.holder is None or self.kept)

    def free(self, *, due: float, not_before: float = 0.0, hints: int = 0) -> None:
        """Nobody holds it any more."""
        self.holder, self.held_until, self.kept = None, 0.0, False
        self.due, self.not_before, self.hints = due, not_before, hints

    def become(self, state: str, *, parked_from: str | None = None, reason: str | None = None) -> None:
        """Stand in another state."""
        self.state, self.parked_from, self.reason = state, parked_from, reason
        self.stage = STAGE_OF.get(state)


@dataclass(slots=True, kw_only=True)
class RunEntry:
    """One run."""

    no: int
    table: str
    origin: int | None = None
    state: str = "running"
    is_live: bool = True
    cursor: str | None = None
    round: int = 1
    planned: int = 0
    seeded: bool = False
    examined: int = 0


@dataclass(slots=True, kw_only=True)
class Row:
    """What a page of the table asks of the ledger."""

    row: str
    old: str
    new: str
    reason: str | None = None
    in_place: bool = False


@dataclass(slots=True)
class Ledger:
    """All runs and moves, and the time."""

    now: float = 0.0
    runs: dict[int, RunEntry] = field(default_factory=dict)
    entries: dict[tuple[int, int], Entry] = field(default_factory=dict)

    def of(self, run: int) -> list[Entry]:
        """The moves of a run, in the order of their numbers."""
        return sorted((entry for entry in self.entries.values() if entry.run == run), key=lambda entry: entry.id)

    def wanted(self) -> dict[str, int]:
        """The new objects of open moves, of all runs, with the run: each is wanted once."""
        return {entry.wants: entry.run for entry in self.entries.values() if entry.wants}

    # Runs

    def begin(self, no: int, table: str, *, origin: int | None = None) -> None:
        """One live run a table."""
        self.runs[no] = RunEntry(no=no, table=table, origin=origin)

    def live_on(self, table: str) -> RunEntry | None:
        """The run that has not ended."""
        return next((run for run in self.runs.values() if run.table == table and run.is_live), None)

    def cancel(self, no: int) -> bool:
        """Nothing more is moved; what may have lost its message during a pause is due, to be ended."""
        run = self.runs[no]
        if run.state not in {"running", "paused"}:
            return False
        run.state = "cancelled"
        self.resume(no)
        return True

    def end_cancelled(self, no: int) -> int:
        """Planned moves that no worker ever had: nothing can have been written for them."""
        ended = [each for each in self.of(no) if each.state == "planned" and not (each.had or each.copied_once) and each.is_free(self.now)]
        for entry in ended:
            entry.become("cancelled")
            entry.holder, entry.kept, entry.hints, entry.suspect, entry.waiting = None, False, 0, False, False
        return len(ended)

    def end(self, no: int) -> bool:
        """A run ends with its last open move, once."""
        run = self.runs[no]
        if not run.is_live or any(entry.is_open for entry in self.of(no)):
            return False
        run.is_live = False
        run.state = "cancelled" if run.state == "cancelled" else "finished"
        return True

    def resume(self, no: int) -> None:
        """Messages that came during the pause were dropped: whatever had one is due."""
        for entry in self.of(no):
            if entry.is_open and entry.hints and entry.holder is None and entry.due > self.now:
                entry.hints, entry.due = 0, self.now

    # The seed

    def seed(self, no: int, page: Sequence[Row], *, seen: RunEntry, cursor: str) -> list[int] | None:
        """A page, whole and once: every row gets a line of its own, whatever stands in its way."""
        run = self.runs[no]
        if run.state != "running" or run.seeded or (run.cursor, run.round) != (seen.cursor, seen.round):
            return None
        run.cursor = cursor
        ids = []
        for asked in page:
            run.examined += 1
            entry = Entry(run=no, id=run.examined, row=asked.row, old=asked.old, new=asked.new, state="planned")
            if asked.reason is not None:
                entry.become("parked", parked_from="planned", reason=asked.reason)
            elif asked.in_place:
                entry.become("in_place")
            elif asked.new in self.wanted():
                entry.become("parked", parked_from="planned", reason="collision")
            else:
                entry.become("planned")
                entry.hints, entry.due = 1, self.now + HINT_SECONDS
                ids.append(entry.id)
            self.entries[no, entry.id] = entry
        run.planned += len(ids)
        return ids

    def seed_back(self, no: int, page: Sequence[Entry], *, seen: RunEntry, cursor: str) -> list[int] | None:
        """A page of moves that are taken back: the same numbers, the keys exchanged."""
        run = self.runs[no]
        if run.state != "running" or run.seeded or run.cursor != seen.cursor:
            return None
        run.cursor = cursor
        ids = []
        for gone in page:
            run.examined += 1
            entry = Entry(run=no, id=gone.id, row=gone.row, old=gone.new, new=gone.old, state="planned", copied_once=True)
            holder = self.wanted().get(gone.old)
            entry.follows = holder == no  # several rows named the object: all go back to it
            if holder not in {None, no}:
                entry.become("parked", parked_from="planned", reason="collision")
            else:
                entry.become("planned")
                entry.hints, entry.due = 1, self.now + HINT_SECONDS
                ids.append(entry.id)
            self.entries[no, entry.id] = entry
        return ids

    def end_pass(self, no: int, *, seen: RunEntry, most: int) -> bool:
        """Another pass while the last one found something, but not for ever."""
        run = self.runs[no]
        if run.seeded:
            return False
        if run.round != seen.round:
            return True
        if run.planned and run.round < most:
            run.round, run.cursor, run.planned = run.round + 1, None, 0
            return True
        run.seeded = True
        return False

    def switched(self, no: int) -> list[Entry]:
        """What of a run can be taken back."""
        return [
            entry
            for entry in self.of(no)
            if entry.state in {"deleted", "kept"} or (entry.state == "parked" and entry.parked_from == "renamed")
        ]

    # Leases

    def claim(self, no: int, ids: Collection[int], *, stage: str, seconds: float, token: str, suspects: bool, state: str) -> list[int]:
        """Those that are due for the stage and nobody's, as long as the run stands as the worker saw it; suspects by themselves."""
        taken = [
            entry
            for entry in self.of(no)
            if entry.id in ids
            and entry.stage == stage
            and entry.suspect == suspects
            and entry.not_before <= self.now
            and entry.is_free(self.now)
            and self.runs[no].state == state
        ]
        for entry in taken:
            entry.holder, entry.held_until, entry.kept, entry.due = token, self.now + seconds, False, self.now + seconds
            entry.had = True
        return [entry.id for entry in taken]

    def join(self, which: Iterable[Entry], *, stage: str, seconds: float, token: str) -> list[tuple[int, int]]:
        """More moves under the same lease: those that are nobody's."""
        mine = []
        for entry in which:
            if entry.stage == stage and entry.is_free(self.now):
                entry.holder, entry.held_until, entry.kept, entry.due = token, self.now + seconds, False, self.now + seconds
            if entry.holder == token:
                mine.append((entry.run, entry.id))
        return sorted(mine)

    def held(self, token: str) -> list[Entry]:
        """What stands under a lease by the ledger, over or not."""
        return [entry for entry in self.entries.values() if entry.holder == token]

    def renew(self, which: Sequence[Entry], *, token: str, seconds: float) -> None:
        """All of them, or none: a lease that is over is not renewed."""
        if any(entry.holder != token or entry.held_until <= self.now for entry in which):
            raise RefusedError
        for entry in which:
            entry.held_until = entry.due = self.now + seconds

    def record(
        self,
        entry: Entry,
        *,
        token: str,
        state: str,
        due_in: float = 0.0,
        hinted: bool = False,
        keep: bool = False,
        waiting: bool = False,
        new: str | None = None,
        parked_from: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """An outcome, from whoever still holds the move; void from everybody else."""
        if entry.holder != token:
            return False
        if new and state in OPEN and new in {each.wants for each in self.entries.values() if each is not entry}:
            raise RefusedError
        if new:
            entry.new, entry.follows = new, False
        entry.become(state, parked_from=parked_from, reason=reason)
        entry.waiting = waiting
        entry.copied_once = entry.copied_once or state == "copied"
        if entry.suspect and not (state in OPEN and due_in):
            entry.suspect = False  # it came through
        if keep:
            entry.kept, entry.due, entry.hints, entry.not_before = True, entry.held_until, int(hinted), self.now
        else:
            wait = 0.0 if hinted else due_in
            entry.free(due=self.now + (HINT_SECONDS if hinted else due_in), not_before=self.now + wait, hints=int(hinted))
        return True

    # The reconciler

    def take_due(self, no: int, *, stage: str, most: int, suspects: bool) -> list[int]:
        """What is to be sent, the longest due first; sent again only after a while that doubles."""
        due = [entry for entry in self.of(no) if entry.is_due(self.now) and entry.stage == stage and entry.suspect == suspects]
        taken = sorted(due, key=lambda entry: (entry.due, entry.id))[:most]
        for entry in taken:
            entry.due = self.now + min(HINT_SECONDS * 2**entry.hints, LONGEST_HINT_SECONDS)
            entry.hints += 1
        return [entry.id for entry in taken]

    def bury(self, no: int, *, most: int) -> int:
        """Lost leases make suspects; who loses its worker alone too often is parked. Gives how many run alone from now on.

        What was kept to its lease's end is free and due.
        """
        suspects = 0
        for entry in self.of(no):
            if entry.is_open and entry.kept and entry.held_until < self.now:
                entry.free(due=min(entry.due, self.now), not_before=entry.not_before)
            if not entry.is_lost(self.now):
                continue
            entry.deaths += entry.suspect
            if entry.suspect and entry.deaths >= most:
                entry.become("parked", parked_from=entry.state, reason="failed")
                entry.holder, entry.suspect, entry.hints = None, False, 0
            else:
                entry.suspect = True
                entry.free(due=self.now)
                suspects += 1
        return suspects

    def end_waiting(self, no: int) -> int:
        """Only waiting moves are left: whose blocker is gone goes on, and who can wait for nothing but waiting ones is parked."""
        waiting = [entry for entry in self.of(no) if entry.state == "planned" and entry.waiting]
        if any(entry.holder for entry in waiting):
            return 0
        blockers = {id(entry): self._blockers(entry) for entry in waiting}
        free = [entry for entry in waiting if not blockers[id(entry)]]
        for entry in free:
            entry.due = entry.not_before = 0.0
        if free or any(not blocker.waiting for found in blockers.values() for blocker in found):
            return 0
        for entry in waiting:
            entry.become("parked", parked_from="planned", reason="target_exists")
            entry.waiting = False
        return len(waiting)

    def _blockers(self, entry: Entry) -> list[Entry]:
        return [each for each in self.entries.values() if each is not entry and each.is_open and each.old == entry.new]

    # The operator

    def send_on(self, no: int, which: Sequence[Entry], *, most: int | None) -> tuple[int, int]:
        """Parked or held moves go on where they stood, unless another open move wants their new object; the run goes on with them."""
        run, blocked = self.runs[no], 0
        opened: list[Entry] = []
        taken = self.wanted()
        for entry in which:
            if len(opened) == most:
                break
            holder = taken.get(entry.new)
            if holder is not None and not (holder == no and run.origin is not None):
                blocked += 1
                continue
            entry.follows = holder is not None
            opened.append(entry)
            if entry.new:
                taken[entry.new] = taken.get(entry.new, no)
        if opened and not run.is_live:
            if self.live_on(run.table):
                raise RefusedError
            run.state, run.is_live, run.seeded = "running", True, True
        for entry in opened:
            entry.become(entry.parked_from or "renamed")
            entry.waiting = entry.suspect = False
            entry.deaths = 0
            entry.free(due=self.now)
        return len(opened), blocked
