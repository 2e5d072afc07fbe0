"""Whether a run may go on just now, and how fast: decided at each tick of the reconciler, told to workers with the run itself.

What says no (the hours, the operator's probes, too many failures) pauses the run. What says that there is too much to do (the store's 503,
slow answers, replicas that are behind) slows its stages down, each by its own rate (app.throttle.aimd). Full queues stop the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from app.database import MICROSECONDS
from app.gauge import Reading
from app.ledger.records import Run
from app.ledger.throttles import Tallied, Throttle
from app.pipeline import MOVE_STAGES, SEED
from app.probing import replica_lag, sql_says_no, url_says_no
from app.settings import Settings
from app.stages.context import Context
from app.states import RunState
from app.throttle import guard
from app.throttle.aimd import Pace, pressed, relieved
from app.throttle.window import Window

FAILURES, WINDOW, PROBE = "failures", "window", "probe"
SLOW_SHARE, SLOW_LEAST = 0.05, 3  # of the requests that were refused, and how many: one in a while is no pressure
DECIDE_SECONDS = 4.0  # at least, between two decisions: workers hear of one, and note what came of it, within some two
MILLISECOND = 1000  # microseconds
_CHANCE = random.Random()  # noqa: S311 - jitter


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What became of the run: *run* as it is now, whether its queues may be filled, what to say of it."""

    run: Run
    feeds: bool = True
    notes: list[str] = field(default_factory=list)


def throttle(run: Run, *, context: Context, now: int, write_seconds: float, depth: Callable[[], int] | None) -> Verdict:
    """Decide for one tick at the database's time *now*; *write_seconds*: what a small transaction has just taken.

    *depth*: asks how many messages lie in the queues.
    """
    if run.state is RunState.PAUSED:
        return _rest_on(run, context, now)
    if run.state is not RunState.RUNNING or not (_is_wanted(context.settings) or run.rates):
        return Verdict(run=run)
    no = _says_no(context, now)
    before = context.throttles.find(run)
    after = _slowed(run, context, before, now=now, write_seconds=write_seconds)
    deep = depth() if depth is not None and context.settings.broker_depth else 0
    is_deep = deep > context.settings.broker_depth > 0
    if is_deep:
        why = f"{deep:,} messages lie in the queues: `rekey set broker_depth=N` allows for more, and more workers take them"
        after = replace(after, rates={**after.rates, SEED.name: 0}, causes={**after.causes, SEED.name: why})
    if no is None:
        no = _too_many_failures(context.settings, after)
    if no is not None:
        resting = replace(after, rests=no[0], why=no[1])
        paused = context.throttles.rest(run, resting)
        return Verdict(run=context.runs.get(run.id), notes=[f"paused: {no[1]}"] if paused else [])
    if after != before:
        context.throttles.decide(run, after)
    changed = after.causes.keys() - before.causes.keys()
    return Verdict(run=run, feeds=not is_deep, notes=[f"{stage} is slowed down: {after.causes[stage]}" for stage in sorted(changed)])


def rests_at_once(run: Run, context: Context) -> str | None:
    """Let a run that has not begun rest, if its hours or the operator's probes say no: before the first tick it would move rows otherwise.

    Returns:
        Why, in words.
    """
    if run.state is not RunState.RUNNING or run.next_move > 1:
        return None
    no = _says_no(context, context.runs.now())
    if no is None or not context.throttles.rest(run, replace(context.throttles.find(run), rests=no[0], why=no[1])):
        return None
    return no[1]


def _is_wanted(settings: Settings) -> bool:
    """Whether anything could hold a run back."""
    asked = settings.window, settings.probe_sql, settings.probe_url.get_secret_value()
    return settings.adapt or settings.guard_percent > 0 or settings.broker_depth > 0 or any(asked)


def _rest_on(run: Run, context: Context, now: int) -> Verdict:
    """A run that the reconciler has paused goes on when the reason is gone; one that an operator has paused does not."""
    before = context.throttles.find(run)
    if before.rests not in {WINDOW, PROBE}:
        return Verdict(run=run)
    no = _says_no(context, now)
    if no is not None:
        if no != (before.rests, before.why):
            context.throttles.decide(run, replace(before, rests=no[0], why=no[1]))
        return Verdict(run=run)
    if not context.throttles.go_on(run):
        return Verdict(run=context.runs.get(run.id))
    context.queues.forget_hints(run)  # their messages were dropped meanwhile
    return Verdict(run=context.runs.get(run.id), notes=["goes on by itself"])


def _says_no(context: Context, now: int) -> tuple[str, str] | None:
    """What holds the run altogether, and why in words."""
    settings = context.settings
    if settings.window is not None:
        hours, at = Window.parse(settings.window), datetime.fromtimestamp(now / MICROSECONDS, UTC)
        if not hours.is_open(at):
            return WINDOW, f"outside of its hours {hours}: goes on at {hours.opens_at(at):%H:%M %Z}; `rekey set window=` takes them away"
    if settings.probe_sql is not None:
        why = sql_says_no(context.moves.engine, settings.probe_sql)
        if why is not None:
            return PROBE, f"{why}: goes on as soon as that is over; `rekey set probe_sql=` asks no more"
    url = settings.probe_url.get_secret_value()
    why = url_says_no(url) if url else None
    return None if why is None else (PROBE, f"{why}: goes on as soon as that is over; start the workers without it to ask no more")


def _too_many_failures(settings: Settings, now: Throttle) -> tuple[str, str] | None:
    percent, last = settings.guard_percent, settings.guard_outcomes
    for stage in (stage.name for stage in MOVE_STAGES):
        window = _window(now.memory, stage)
        if percent and guard.is_too_much(window, percent=percent, last=last):
            failed, outcomes = sum(seen.failed for seen in window), sum(seen.outcomes for seen in window)
            return FAILURES, (
                f"{failed:,} of the last {outcomes:,} outcomes of {stage} failed, and {percent} % of {last:,} are too many: see what was "
                "parked and why; `rekey resume` goes on and counts anew, `rekey set guard_percent=N` allows for more"
            )
    return None


def _window(memory: Mapping[str, Any], stage: str) -> list[guard.Seen]:
    """What the last ticks have seen end in *stage*; each has its own, so that what fails at one is not thinned out by the others."""
    return [guard.Seen(outcomes=outcomes, failed=failed) for outcomes, failed in memory.get("windows", {}).get(stage, ())]


def _slowed(run: Run, context: Context, before: Throttle, *, now: int, write_seconds: float) -> Throttle:
    """The rates from now on, by what was done since the last tick."""
    settings, memory = context.settings, before.memory
    if now - memory.get("at", run.created_at) < DECIDE_SECONDS * MICROSECONDS:
        return replace(before, rests=None, why=None)
    seen = context.throttles.tallied(run)
    seconds = max((now - memory.get("at", run.created_at)) / MICROSECONDS, 0.1)
    everybody = _common(settings, context, write_seconds) if settings.adapt else None
    rates: dict[str, int] = {}
    causes: dict[str, str] = {}
    paces: dict[str, Any] = {}
    windows: dict[str, Any] = {}
    sums = {}
    for stage in (stage.name for stage in MOVE_STAGES):
        done = seen.get(stage, Tallied()) - _tallied(memory.get("sums", {}).get(stage))
        sums[stage] = _recorded(seen.get(stage, Tallied()))
        window = guard.added(_window(memory, stage), guard.Seen(outcomes=done.outcomes, failed=done.failed), last=settings.guard_outcomes)
        windows[stage] = [(seen.outcomes, seen.failed) for seen in window]
        if not settings.adapt:
            continue
        cause = everybody or _own(settings, done.store)
        pace = Pace.from_record(memory.get("paces", {}).get(stage, {}))
        if cause is None:
            pace = relieved(pace, done=done.taken / seconds, chance=_CHANCE)
        elif done.taken or done.store.requests:
            pace = pressed(pace, done=done.taken / seconds, chance=_CHANCE)
        if pace.bound is not None:
            rates[stage], paces[stage] = pace.bound, pace.to_record()
            causes[stage] = cause or before.causes.get(stage, "")
    return Throttle(rates=rates, causes=causes, memory={"at": now, "sums": sums, "paces": paces, "windows": windows})


def _common(settings: Settings, context: Context, write_seconds: float) -> str | None:
    """What slows all stages down."""
    if 0 < settings.database_latency_ms < write_seconds * 1000:
        return (
            f"a small transaction takes {write_seconds * 1000:.0f} ms: `rekey set database_latency_ms=N` allows for more than "
            f"{settings.database_latency_ms}"
        )
    lag = replica_lag(context.moves.engine) if settings.replica_lag_seconds else 0.0
    if lag > settings.replica_lag_seconds > 0:
        return f"a replica is {lag:.0f} s behind: `rekey set replica_lag_seconds=N` allows for more than {settings.replica_lag_seconds}"
    return None


def _own(settings: Settings, store: Reading) -> str | None:
    """What slows this stage down, by how the store answered it."""
    if store.slow_downs >= max(SLOW_LEAST, SLOW_SHARE * store.requests):
        share = 100 * store.slow_downs / store.requests
        return f"the store asks to slow down (503) in {share:.0f} % of its answers: `rekey set adapt=false` takes no notice"
    mean = store.microseconds / store.requests / MILLISECOND if store.requests else 0.0
    if 0 < settings.store_latency_ms < mean:
        return f"the store takes {mean:.0f} ms to answer: `rekey set store_latency_ms=N` allows for more than {settings.store_latency_ms}"
    return None


def _tallied(recorded: list[int] | None) -> Tallied:
    outcomes, failed, requests, slow_downs, microseconds, taken = (*(recorded or ()), 0, 0, 0, 0, 0, 0)[:6]
    return Tallied(outcomes=outcomes, failed=failed, taken=taken, store=Reading(requests, slow_downs, microseconds))


def _recorded(done: Tallied) -> list[int]:
    return [done.outcomes, done.failed, done.store.requests, done.store.slow_downs, done.store.microseconds, done.taken]
