"""How a run stands: the counts of the contract (section 4), its rate, and why it stands still. As a dictionary for JSON and for text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from app import tick_failures
from app.database import MICROSECONDS
from app.ledger.canaries import Canaries, CanaryLedger
from app.ledger.counting import Count
from app.ledger.depths import depth_of
from app.ledger.ladders import LadderLedger
from app.ledger.losses import LossLedger, Lost
from app.ledger.outages import Outage, OutageLedger
from app.ledger.queues import QueueLedger
from app.ledger.records import Run
from app.ledger.runs import RunLedger
from app.ledger.steering import SteerLedger
from app.ledger.throttles import Acted, Throttle, ThrottleLedger
from app.ledger.uploads import UploadLedger
from app.ledger.visits import VisitLedger
from app.pipeline import MOVE_STAGES
from app.redaction import redact
from app.stage_report import LEASE_SECONDS, Missing, held_back_by, missing_of, stage_figures, standstill
from app.states import COPIED_STATES, OPEN_STATES, SWITCHED_STATES, MoveState, RunState
from app.step_report import step_figures, waiting

_S = MoveState
_RESTING = {
    RunState.PAUSED: "paused: `rekey resume` goes on",
    RunState.CANCELLED: "cancelled: what was under way is brought to an end",
}
SHOWN_ERRORS = 3
SOME_ERRORS = "its assets have errors: `rekey status` shows the last ones"  # which name keys
OUTAGE_SECONDS = 90  # for which a worker's word of an outage counts: it tries again sooner, unless it has died, or its message is lost
QUIET_SECONDS = 3  # without an outcome, before an outage is a standstill: a store refuses a request once in a while
SILENT_TICKS = 6  # ticks that may fail to come before the report says so,
SILENT_SECONDS = 6.0  # and so long at least: on a busy machine several short ones are late together


def snapshot(run: Run, *, runs: RunLedger, queues: QueueLedger) -> dict[str, Any]:
    """The state of *run* now, under the names of the contract; times are UTC microseconds, durations seconds."""
    now = runs.now()
    counts = queues.counts(run)
    totals = totals_of(counts)
    lost = LossLedger(queues.engine).count(run)
    canaries = CanaryLedger(queues.engine).find(run)
    ladder = LadderLedger(queues.engine).find(run)
    step = step_figures(ladder)
    next_delete = queues.next_delete_at(run) if totals["renamed"] > totals["deleted"] + totals["kept"] else None
    report = (
        {"run": run.id, "kind": str(run.kind), "state": str(run.state), "ended": not run.is_live, "stall": None}
        | totals
        | lost_of(lost)
        | {"unseen": run.unseen, "deletes_due_at": next_delete}
        | {"canary_reads": canaries.reads, "canary_failed": canaries.failed, "step": step}
    )
    depths = {stage.state: depth_of(queues, run, stage.state) for stage in MOVE_STAGES}
    throttles = ThrottleLedger(queues.engine)
    throttle = throttles.find(run)
    acted, turns = throttles.acted_at(run), SteerLedger(queues.engine).next_turns(run)
    knobs = {**run.settings, **run.knobs}
    report["stages"] = stage_figures(counts, depths, knobs=knobs, now=now, throttle=throttle, acted=acted, turns=turns)
    report["seed_held_by"] = throttle.causes.get("seed")
    rows = max(totals["rows"], run.rows_estimate)
    speed = rates(run, now=now, done=totals["rows"] - totals["open"], rows=rows)
    is_last = ladder is None or ladder.next is None  # else nobody knows how long the run will rest
    missing = missing_of(run, depths[_S.PLANNED], report, now=now)
    eta = time_left(run, totals=totals, seconds=speed["seconds"], rows=rows) if is_last else None
    report |= speed | {"eta_seconds": missing.eta(eta) if missing is not None and is_last else eta}
    errors = [redact(error) for error in queues.last_errors(run, limit=SHOWN_ERRORS)]
    report["rests"] = throttle.rests if run.state is RunState.PAUSED else None
    waits = (
        _waits(run, report, queues=queues, now=now, acted=acted, missing=missing)
        if totals["open"] and run.state is RunState.RUNNING
        else None
    )
    stands = [
        stall(run, now=now, counts=counts, next_delete=next_delete, errors=said, grace=_grace(run), waits=why)
        for said, why in zip((errors, [SOME_ERRORS] if errors else []), waits or (None, None), strict=True)
    ]
    resting = _resting(run, report, canaries=canaries, throttle=throttle)
    report["stall"], report["stall_kind"] = resting or _failing(run, runs, now=now) or stands
    own, name = None, run.settings.get("after_switch")
    if name and run.is_live:
        own = VisitLedger(queues.engine).figures(run)
        if own["failing"] and not report["stall"]:
            report["stall_kind"] = f"your own stage {name} fails on {own['failing']} assets"
            report["stall"] = f"{report['stall_kind']}: {redact(own['detail'])}"
    report["own_stage"] = own
    report["last_errors"] = errors
    report["at_rest"] = waits is not None or (run.is_live and run.state is RunState.PAUSED)
    report["held_back_by"] = held_back_by(report, per_second={})
    return report


def _resting(run: Run, report: Mapping[str, Any], *, canaries: Canaries, throttle: Throttle) -> tuple[str, str] | None:
    """Why the run rests, or its deletes do, where it is by a decision of the reconciler's; and the same without keys and rows."""
    step = report["step"]
    if run.state is RunState.RUNNING and canaries.missing:
        rows = ", ".join(canaries.missing)
        return (
            f"a canary read did not get the object that row {rows} names: deletes are held while it is read again",
            "a canary read did not get its object: deletes are held while it is read again",
        )
    if run.state is not RunState.PAUSED:
        return None
    if step is not None and step["waits"]:
        waits = waiting(step, parked=report["parked"], failed=canaries.failed)
        return waits, waits
    if throttle.rests:
        return f"paused, {throttle.why}", f"paused, {throttle.why}"
    if not canaries.stopped:
        return None
    return (
        f"paused, since a canary read failed: {canaries.last_failure}; `rekey resume` goes on",
        "paused, since a canary read failed: `rekey status` says what it got; `rekey resume` goes on",
    )


def _waits(
    run: Run, report: Mapping[str, Any], *, queues: QueueLedger, now: int, acted: Acted, missing: Missing | None
) -> tuple[str, str] | None:
    """For what all of a run waits that nobody gets on with; and the same without a request's words."""
    outage = _outage(OutageLedger(queues.engine).find(run), now=now, acted=acted)
    if outage is not None:
        return outage
    still = standstill(report["stages"], now=now, acted=acted)
    if still is not None and UploadLedger(queues.engine).is_any_held(run):  # a large object's lease is kept up now and then
        patience = int(run.settings.get("lease_seconds", LEASE_SECONDS)) / 2 + int(run.settings.get("request_timeout_seconds", 10))
        still = standstill(report["stages"], now=now, acted=acted, patience_seconds=patience)
    if still is None and missing is not None and missing.alone:
        still = missing.words
    return None if still is None else (still, still)


def _outage(seen: Outage | None, *, now: int, acted: Acted) -> tuple[str, str] | None:
    """That the object store gives workers nothing, and nobody has got anything done since; and the same without a request's words."""
    if seen is None or now - seen.at > OUTAGE_SECONDS * MICROSECONDS:
        return None
    acted_at = max(acted.outcomes.values(), default=0)
    if acted_at > seen.at or now - acted_at < QUIET_SECONDS * MICROSECONDS:
        return None
    by_whom = f"a {seen.stage} worker has seen that {max(0, now - seen.at) / MICROSECONDS:.0f} s ago"
    return f"{seen.kind}: {redact(seen.detail)}; {by_whom}", f"{seen.kind}; {by_whom}"


def _failing(run: Run, runs: RunLedger, *, now: int) -> tuple[str, str] | None:
    """That the reconciler cannot do its work on the run, and why; and the same without what the error names."""
    why = tick_failures.find(runs, run, now=now, within_seconds=_silent_seconds(run)) if run.is_live else None
    return (f"the reconciler fails on this run: {why}", "the reconciler fails on this run: `rekey status` says why") if why else None


def totals_of(counts: Sequence[Count]) -> dict[str, Any]:
    """rows, copied, renamed, deleted (so far), open and each final outcome, parked by reason. rows = the outcomes + open."""
    by_state: Counter[MoveState] = Counter()
    reached: Counter[str] = Counter()
    reasons: dict[MoveState, Counter[str]] = {_S.PARKED: Counter(), _S.KEPT: Counter()}
    for count in counts:
        by_state[count.state] += count.moves
        stage = count.parked_from if count.state is _S.PARKED and count.parked_from else count.state
        reached["copied"] += count.moves * (stage in COPIED_STATES)
        reached["renamed"] += count.moves * (stage in SWITCHED_STATES)
        if count.state in {_S.PARKED, _S.KEPT}:
            reasons[count.state][str(count.reason)] += count.moves
    finals = {str(state): by_state[state] for state in (_S.IN_PLACE, _S.KEPT, _S.PARKED, _S.SUPERSEDED, _S.CANCELLED, _S.ROLLED_BACK)}
    return {
        "rows": sum(by_state.values()),
        "copied": reached["copied"],
        "renamed": reached["renamed"],
        "deleted": by_state[_S.DELETED],
        "open": sum(by_state[state] for state in OPEN_STATES),
        "open_switched": by_state[_S.RENAMED],
        "waiting": sum(count.moves for count in counts if count.waiting and count.state in OPEN_STATES),
        **finals,
        "parked_reasons": dict(sorted(reasons[_S.PARKED].items())),
        "kept_reasons": dict(sorted(reasons[_S.KEPT].items())),
    }


def lost_of(lost: Lost) -> dict[str, Any]:
    """not_kept: assets that were moved without something that they had; not_kept_attributes: how many without each."""
    return {"not_kept": lost.moves, "not_kept_attributes": dict(lost.attributes)}


def rates(run: Run, *, now: int, done: int, rows: int) -> dict[str, Any]:
    """seconds, per_second and eta_seconds (null while there is nothing to go by)."""
    seconds = ((run.finished_at or now) - run.created_at) / MICROSECONDS
    per_second = done / seconds if seconds > 0 else 0.0
    left = max(0, rows - done)
    eta = left / per_second if per_second > 0 and run.state is RunState.RUNNING else None
    return {"seconds": round(seconds, 3), "per_second": round(per_second, 1), "eta_seconds": None if eta is None else round(eta)}


def time_left(run: Run, *, totals: Mapping[str, Any], seconds: float, rows: int) -> int | None:
    """Seconds until the last row has ended, by what has ended so far, or by what was switched and the grace: what is nearer.

    Before the first grace is over next to nothing has ended, whatever is copied a second; so None while nothing is switched either.
    """
    if run.state is not RunState.RUNNING or seconds <= 0:
        return None
    done, renamed = totals["rows"] - totals["open"], totals["renamed"]
    left = max(0, rows - done)
    found: list[float] = []
    if renamed:
        found.append(_grace(run) + (left - totals["open_switched"] or left) * seconds / renamed)
    if done and (renamed or not totals["copied"]):
        found.append(left * seconds / done)
    return round(min(found)) if found else None


def stall(
    run: Run,
    *,
    now: int,
    counts: Sequence[Count],
    next_delete: int | None,
    errors: Sequence[str],
    grace: int,
    waits: str | None = None,
) -> str | None:
    """Why nothing moves, in words that name the remedy; None while it moves or is over. *waits*: for what all of it waits."""
    if not run.is_live or run.state is not RunState.RUNNING:
        return _RESTING.get(run.state) if run.is_live else None
    silent = (now - max(run.tick_at, run.created_at)) / MICROSECONDS
    if silent > _silent_seconds(run):
        return (
            f"no reconciler tick for {silent:.0f} s: does the broker answer (`rekey doctor` asks it), is beat running, "
            "and a worker for the seed queue (`python -m workers`)?"
        )
    if waits is not None:
        return waits
    if run.deletes_held_until > now:
        return f"the database's clock jumped: deletes are held for {(run.deletes_held_until - now) / MICROSECONDS:.0f} s"
    opened = {count.state for count in counts if count.state in OPEN_STATES}
    if opened == {_S.RENAMED} and grace and next_delete is not None and next_delete > now:
        return _in_grace(run, grace=grace, due=(next_delete - now) / MICROSECONDS)
    return errors[0] if errors else None


def _in_grace(run: Run, *, grace: int, due: float) -> str:
    if run.hold_deletes:
        return f"all rows are switched; the grace of {grace} s runs, and old objects are held from then on, the first in {due:.0f} s"
    return f"all rows are switched; the grace of {grace} s runs, the first deletes are due in {due:.0f} s"


def _silent_seconds(run: Run) -> float:
    """How long a tick may fail to come."""
    return max(SILENT_SECONDS, SILENT_TICKS * float(run.settings.get("reconcile_seconds", 5)))


def is_done(report: Mapping[str, Any]) -> bool:
    """Whether every row is deleted, kept, in place or gone (exit status 0: S8)."""
    good = report["deleted"] + report["kept"] + report["in_place"] + report["superseded"]
    return report["state"] == RunState.FINISHED and good == report["rows"] and not report["unseen"]


def is_switched(report: Mapping[str, Any]) -> bool:
    """Whether every row is switched, in place or gone, whatever becomes of the old objects (exit status 0 of ``--until renamed``)."""
    good = report["open_switched"] + report["deleted"] + report["kept"] + report["in_place"] + report["superseded"]
    return report["state"] != RunState.CANCELLED and good == report["rows"] and not report["unseen"]


def _grace(run: Run) -> int:
    return int(run.settings.get("grace_seconds", 0))
