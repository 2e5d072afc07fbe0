"""How a schedule ends: the run goes on undisturbed until it is over, and what it leaves is checked (S2, S8, S9)."""

from __future__ import annotations

from dataclasses import replace
from time import process_time
from typing import TYPE_CHECKING

from app.stages.own_stage import call_own_stage
from app.states import OPEN_STATES, MoveState, RunKind, RunState
from tests.model.choices import ViolationError
from tests.model.same import comparable_state
from tests.model.truth import MENDED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from app.ledger.records import Move
    from tests.model.ground import Ground

REPORTED = frozenset({MoveState.PARKED, MoveState.KEPT})
DONE = frozenset({MoveState.DELETED, MoveState.IN_PLACE})
MOST_TICKS = 300


class Settling:
    """Settles the schedules of one ground; what was once settled from the same state on is not settled again."""

    def __init__(self, ground: Ground) -> None:
        self.endings: set[int] = set()  # the states that schedules left behind
        self.count = 0
        self.seconds = 0.0
        self._ground = ground
        self._settled: dict[int, str] = {}
        self._run_again: set[int] = set()  # what was left when a second run was tried

    def settle(self) -> None:
        """Let the run end; ViolationError if it does not, or leaves what it must not."""
        ground = self._ground
        ground.execution = None
        ground.forget()
        start = process_time()
        ground.context = ground.worker()
        ground.settling = True
        trail: list[int] = []
        first = comparable_state(ground)
        try:
            violation = self._settle(trail)
        except ViolationError as error:
            violation = f"{error}, when the run had gone on undisturbed: {_told(ground.moves())}"
        finally:
            ground.settling = False
        self._settled.update(dict.fromkeys(trail, violation))
        self.endings.add(first)
        self.count += len(trail)
        self.seconds += process_time() - start
        if violation:
            raise ViolationError(violation)

    def _settle(self, trail: list[int]) -> str:
        ground = self._ground
        for _ in range(MOST_TICKS):
            state = comparable_state(ground)
            if state in self._settled:
                return self._settled[state]
            trail.append(state)
            self._empty_the_queues()
            if ground.run.state is RunState.PAUSED:
                ground.context.ladders.resume(ground.run, failed=0)
                ground.context.canaries.go_on(ground.run)
                settings = ground.context.settings.model_copy(update={"canary_reads": 0})  # as the operator does whom they have told all
                ground.context = replace(ground.context, settings=settings)
                ground.context.runs.set_state(ground.run, RunState.RUNNING, only_from=RunState.PAUSED)
            found = ground.tick()
            ground.messages += [*found.messages, *([(None, [])] if found.seed else [])]
            for ids in found.visits:
                call_own_stage(ground.run, ids, context=ground.context)
            if not ground.run.is_live:
                self._check_end()
                return ""
            self._empty_the_queues()
            pause = max(5.0, ground.seconds_to_next())
            self._check_looks(pause)
            ground.later(pause)
        return f"S9: the run does not end: {_told(ground.moves())}"

    def _empty_the_queues(self) -> None:
        ground = self._ground
        while ground.messages:
            ground.messages += ground._handle(*ground.messages.pop(0))
            ground.check_now()

    def _check_looks(self, pause: float) -> None:
        """A write that overlapped the switch shows at the new key after LOOK_SECONDS, and nothing sleeps until then (S1)."""
        ground, settings = self._ground, self._ground.context.settings
        if pause <= settings.look_seconds + settings.reconcile_seconds or ground.lenient:
            return
        bucket, name, keys = ground.store._bucket, ground.behaviour.name, set(ground.keys().values())
        for old, new, switched, etag in ground.raw.execute(
            "SELECT old_key, new_key, switch_store_time, copy_etag FROM rekey_moves WHERE state = 'renamed' AND switched_at IS NOT NULL"
        ):
            there, here = bucket.current(name(old)), bucket.current(name(new))
            if there is None or here is None or new not in keys or here.etag != etag or there.last_modified >= (switched or 0):
                continue
            if there.body != here.body:
                raise ViolationError(f"S1: nobody looks for {pause:.0f} s, and {new} lacks what was written to {old} before the switch")

    def _check_end(self) -> None:
        ground = self._ground
        ended, rows = ground.moves(), ground.keys()
        moved = {move.row_id for move in ended}
        there, late = ({f"[{number}]" for number in numbers} for numbers in (ground.rows_seeded, rows))
        if len(moved) < len(ended) or not there <= moved <= there | late:
            raise ViolationError(f"S8: {len(ground.rows_seeded)} rows, {len(ended)} moves")
        if any(move.state in OPEN_STATES for move in ended):
            raise ViolationError("S8: the run has ended, and a move is open")
        reported = {key for move in ended if move.state in REPORTED for key in (move.old_key, move.new_key)}
        if ground.lenient:
            self._check_damage(rows, reported)
            return
        ground.truth.check_end(rows, ground.contents(), reported=frozenset(reported))
        self._check_headers(rows, reported)
        left = hash((repr(sorted(rows.items())), repr(sorted(ground.contents().items()))))
        if left in self._run_again:
            return
        self._run_again.add(left)
        clients = ground.raw.execute("SELECT id, client_id FROM assets").fetchall()
        if (
            all(rows[number].startswith(f"clients/{client}/") for number, client in clients)
            and ground.run.kind is RunKind.MOVE
            and frozenset(rows) == ground.rows_seeded
            and all(move.state in DONE and move.detail is None for move in ended)
        ):
            self._check_second_run()

    def _check_damage(self, rows: Mapping[int, str], reported: Collection[str]) -> None:
        for number in self._ground.oracles.ghosts.damaged:
            key = rows.get(number)
            if key is not None and key not in reported and self._ground.object_at(key) is None:
                raise ViolationError(f"S4: {key} was deleted while row {number} named it; it was not put back, and is not reported")

    def _check_headers(self, rows: Mapping[int, str], reported: Collection[str]) -> None:
        for number, asset in self._ground.truth.rows.items():
            found = self._ground.store._bucket.current(self._ground.behaviour.name(rows.get(number, "-")))
            as_mended = asset not in self._ground.truth.mended or found is None or found.headers.items() == MENDED.items()
            if not as_mended and rows[number] not in reported:
                raise ViolationError(f"S2: row {number} lacks in the end the headers that its object was given")

    def _check_second_run(self) -> None:
        ground = self._ground
        before, run_id = len(ground.writes()), ground.run_id
        try:
            ground.run_id = ""
            assert ground.run.is_live
            ground.messages[:] = [(None, [])]
            ground.go(ticks=50)
            if len(ground.writes()) != before:
                raise ViolationError(f"S9: a second run writes {ground.writes()[before:]}")
        finally:
            ground.run_id = run_id


def _told(moves: Sequence[Move]) -> list[tuple[str, str, str | None]]:
    return [(move.row_id, str(move.state), move.detail) for move in moves]
