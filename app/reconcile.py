"""The reconciler: once a tick, whatever is due in the ledger is enqueued (again), and what can end is ended (S6, H26).

It restores lost messages and dead workers' moves, sends out switched moves whose look or grace is due, and lets suspects run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from app.database import MICROSECONDS
from app.errors import DatabaseUnavailableError
from app.ledger.records import Run
from app.ledger.runs import Clocks
from app.pipeline import MESSAGES_A_RUN, MOVE_STAGES, MoveStage
from app.stages.canary import read_canaries
from app.stages.context import Context
from app.stages.left_uploads import abort_left_uploads
from app.stages.seed_moves import batch_size, split
from app.states import MoveState, RunState
from app.throttling import Verdict, throttle

CLOCK_JUMP_SECONDS = 5.0  # the database's clock against this machine's boot clock, between two ticks (H16)
OUTAGE_TICKS = 4  # so many ticks without one: the ledger, or the broker, was away
SUSPECTS_A_TICK = 500
SOON_SECONDS = 5.0
TOGETHER = 100  # moves in a message of a stage that looks at many keys at once, if so many are due,
SHARES = 8  # and where many more are due, the tasks that share them


@dataclass(slots=True, kw_only=True)
class Found:
    """What a tick found to be sent."""

    seed: bool = False
    messages: list[tuple[MoveStage, list[int]]] = field(default_factory=list)
    visits: list[list[int]] = field(default_factory=list)  # for the operator's own stage
    notes: list[str] = field(default_factory=list)
    action: str = "reconciled"  # what the log calls this tick
    deaths: int = 0  # moves whose lease was found lost
    uploads_left: bool = False  # of dead workers, still to be aborted: the run does not end before


def reconcile(run: Run, *, context: Context, host: str, depth: Callable[[], int] | None = None) -> Found:
    """One tick for one run. Safe to repeat; two at the same moment: one of them does nothing.

    *depth*: asks the broker how many messages lie in the queues, where a bound is set on them.
    """
    found = Found()
    clocks = context.runs.read_clocks(context.clock)
    began = context.clock.boot()
    if not context.runs.take_tick(run, every_seconds=context.settings.reconcile_seconds / 2, clocks=clocks, host=host):
        return found
    write_seconds = context.clock.boot() - began
    jump = context.runs.jump(run, clocks, host=host)
    if abs(jump) > CLOCK_JUMP_SECONDS:
        _after_jump(run, context, jump, found)
    if run.is_live:
        _abort_uploads(run, context, found)
    if run.state is RunState.CANCELLED:
        _cancel(run, context, clocks, found)
    verdict = throttle(run, context=context, now=clocks.now, write_seconds=write_seconds, depth=depth) if run.is_live else Verdict(run=run)
    run = verdict.run
    found.notes += verdict.notes
    failure = read_canaries(run, context=context) if run.state is RunState.RUNNING else None
    if failure:
        found.notes.append(f"paused, since a canary read failed: {failure}")
        return found
    if run.state is not RunState.RUNNING or not verdict.feeds:  # the grace runs on, but nothing is hinted (H17)
        return found
    due = context.queues.due_states(run)
    if due or not run.seed_done:
        room = max(0, context.settings.max_in_flight - context.queues.in_flight(run))
        if due:
            _look_for_deaths(run, context, clocks, found)
            room = _send_what_is_stamped(run, context, due, room, found)
        found.seed = not run.seed_done and run.seed_due_at <= clocks.now and room > 0
    _visit(run, context, found)
    if run.seed_done and not found.messages:
        _end(run, context, found)
    return found


def _cancel(run: Run, context: Context, clocks: Clocks, found: Found) -> None:
    """End what needs no worker, send what does, and end the run with the last of them."""
    ended = context.reopening.end_cancelled_moves(run)
    if ended:
        found.notes.append(f"{ended} moves ended, since the run is cancelled")
    soon = max(context.settings.request_timeout_seconds, context.settings.look_seconds) + SOON_SECONDS
    context.reopening.wake_cancelled(run, beyond_seconds=soon, most=context.settings.max_in_flight)
    _visit(run, context, found)
    due = context.queues.due_states(run)
    if due:
        _look_for_deaths(run, context, clocks, found)
        _send_what_is_stamped(run, context, due, context.settings.max_in_flight, found)
    if not found.messages and not found.uploads_left and not context.queues.is_open(run):
        context.runs.set_unseen(run, max(0, run.rows_estimate - (run.next_move - 1)))
        if context.runs.end(run):
            context.uploads.close(run)
            found.action = "run_ended"
            found.notes.append("the cancelled run has ended")


def _abort_uploads(run: Run, context: Context, found: Found) -> None:
    """Leave no unfinished upload of a dead worker behind; those that may not be aborted hold up nothing."""
    swept = abort_left_uploads(run, context=context)
    found.uploads_left = swept.open > 0
    if swept.aborted:
        found.notes.append(f"{swept.aborted} multipart uploads were left unfinished: aborted")
    found.notes += [f"an unfinished upload cannot be aborted: {reason}" for reason in swept.refused]


def _send_what_is_stamped(run: Run, context: Context, due: Collection[MoveState], room: int, found: Found) -> int:
    """As ``_send_due``; where the ledger goes away half-way, what is stamped by then is sent: else it would wait for its next hint."""
    try:
        return _send_due(run, context, due, room, found)
    except DatabaseUnavailableError as error:
        if not found.messages:
            raise
        found.notes.append(str(error))
        return 0


def _send_due(run: Run, context: Context, due: Collection[MoveState], room: int, found: Found) -> int:
    """Stamp what is due and note it for sending; gives what is left of *room* in flight."""
    for stage in (stage for stage in MOVE_STAGES if stage.state in due):
        # Switched moves do not count as in flight: they may wait for days (H27); a tick still sends no more than one bound of them.
        limit = context.settings.max_in_flight if stage.state is MoveState.RENAMED else room
        ids = context.queues.take_due(run, stage=stage.name, state=stage.state, limit=limit) if limit else []
        found.messages += [(stage, ids_of) for ids_of in split(ids, size=message_size(run, stage, len(ids), context))]
        alone = context.queues.take_due(run, stage=stage.name, state=stage.state, limit=SUSPECTS_A_TICK, suspects=True)
        if alone:
            found.messages.append((stage, alone))
        if stage.state is not MoveState.RENAMED:
            room = max(0, room - len(ids))
    return room


def message_size(run: Run, stage: MoveStage, due: int, context: Context) -> int:
    """Moves a message: as few as the seed sends, and more for a stage that looks at many together, but so that several tasks share them."""
    most = stage.message_size(context.settings.batch_size, rows=max(run.rows_estimate, MESSAGES_A_RUN * due))
    together = max(TOGETHER, -(-due // SHARES)) if stage.batches > 1 else 1
    return min(most, max(together, batch_size(run, due, context)))


def _after_jump(run: Run, context: Context, jump: float, found: Found) -> None:
    """A jump of the database's clock may end graces and leases too early: hold deletes for one grace, and show it (H16)."""
    context.runs.hold_deletes(run, seconds=context.settings.grace_seconds)
    found.action = "clock_jumped"
    found.notes.append(f"the database's clock jumped by {jump:.0f} s: deletes are held for {context.settings.grace_seconds} s")
    if jump < 0:
        context.queues.cut_after_jump(run)
    else:  # leases that are over by the ledger may still be held by the boot clock (S7)
        context.runs.spare(run, until=context.clock.boot() + context.settings.lease_seconds)
        context.queues.extend_kept(run, seconds=context.settings.lease_seconds)


def _look_for_deaths(run: Run, context: Context, clocks: Clocks, found: Found) -> None:
    """Find leases that were lost. Not in the first tick after an outage of the ledger: nobody could give any back before (S8)."""
    outage = run.tick_at and clocks.now - run.tick_at > OUTAGE_TICKS * context.settings.reconcile_seconds * MICROSECONDS
    if outage or context.runs.is_spared(run, boot=context.clock.boot()):
        return
    suspects = context.queues.mark_suspects(run, max_deaths=context.settings.max_deaths)
    found.deaths += suspects
    if suspects:
        found.notes.append(f"{suspects} leases were lost: those moves run alone now")


def _visit(run: Run, context: Context, found: Found) -> None:
    """Send what the operator's own stage has to see."""
    if context.settings.after_switch:
        limit, again = context.settings.max_in_flight, float(context.settings.hint_seconds)
        found.visits = split(context.visits.take_due(run, limit=limit, again_seconds=again), size=context.settings.batch_size)


def _end(run: Run, context: Context, found: Found) -> None:
    if context.queues.is_going(run) or found.uploads_left or (context.settings.after_switch and context.visits.is_open(run)):
        return
    if context.queues.is_waiting(run):
        parked = context.queues.end_waiting(run)
        if parked:
            found.notes.append(f"{parked} moves waited for each other: parked")
    elif climbed := context.ladders.climb(run, failed=context.canaries.find(run).failed):
        found.action = "step_ended"
        found.notes.append(str(climbed))
        found.seed = not climbed.waits
    elif context.runs.end(run):
        context.uploads.close(run)
        found.action = "run_ended"
        found.notes.append("finished")
