"""One reading as Prometheus' families, named by its conventions (base units, ``_total`` for what only grows). Pure.

No label holds what a user or a store may make many of: no id, no client, no key, no worker's name. Reasons, states, stages, attributes and
knobs are lists of ours, so that a deployment has some 150 series however large it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily

from app.gauge import BOUNDS
from app.ledger.throttles import RECONCILER, Tallied
from app.pipeline import MOVE_STAGES
from app.states import MoveState, RunState

_KNOB = re.compile(r"`rekey set (\w+)=")
_FINAL = (
    MoveState.DELETED,
    MoveState.KEPT,
    MoveState.PARKED,
    MoveState.IN_PLACE,
    MoveState.SUPERSEDED,
    MoveState.CANCELLED,
    MoveState.ROLLED_BACK,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """What the broker says: messages by queue, those in workers' hands, its memory in bytes (0: no limit), keys thrown away so far.

    And by queue, for how long no worker was seen to consume it; a queue that never had one is not in there.
    """

    waiting: Mapping[str, int]
    in_hand: int
    memory: int
    memory_limit: int
    evicted: int
    heartbeats: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read. None: it did not answer; ``report`` is None too where there is no run yet."""

    database: bool
    report: Mapping[str, Any] | None = None  # app.report.snapshot
    tick_age: float | None = None  # seconds since the reconciler's last tick
    tallied: Mapping[str, Tallied] = field(default_factory=dict)
    broker: Broker | None = None
    workers: Mapping[str, int] | None = None  # consumers by queue


def families(seen: Reading) -> Iterator[Metric]:
    """All there is to tell of *seen*."""
    yield _gauge("rekey_database_up", "Whether the ledger answered.", seen.database)
    yield _gauge("rekey_broker_up", "Whether the broker answered.", seen.broker is not None)
    yield from _broker(seen.broker)
    if seen.workers is not None:
        yield _by("rekey_workers", "Workers that consume a queue.", "queue", seen.workers)
    if seen.report is not None:
        yield from _run(seen.report, seen.tick_age)
        yield from _stages(seen.report["stages"])
        yield from _canaries(seen.report)
        yield from _tallies(seen.tallied)


def _broker(seen: Broker | None) -> Iterator[Metric]:
    if seen is None:
        return
    yield _by("rekey_broker_messages", "Messages that wait in a queue.", "queue", seen.waiting)
    yield _gauge("rekey_broker_messages_in_hand", "Messages that workers hold, of all queues.", seen.in_hand)
    yield _by("rekey_worker_heartbeat_age_seconds", "Since a worker was last seen to consume a queue.", "queue", seen.heartbeats)
    yield _gauge("rekey_broker_memory_bytes", "Memory that the broker uses.", seen.memory)
    yield _gauge("rekey_broker_memory_limit_bytes", "Its maxmemory; 0: none.", seen.memory_limit)
    yield _counter("rekey_broker_evicted_keys", "Keys that the broker has thrown away for want of memory.", seen.evicted)


def _run(report: Mapping[str, Any], tick_age: float | None) -> Iterator[Metric]:
    info = InfoMetricFamily("rekey_run", "The newest run on this bucket and table.")
    info.add_metric([], {"run": str(report["run"]), "kind": str(report["kind"])})
    yield info
    yield _by("rekey_run_state", "1 for the state that it is in.", "state", {str(state): report["state"] == state for state in RunState})
    yield _gauge("rekey_run_stalled", "Whether it stands still, or rests: `rekey status` says why.", report["stall"] is not None)
    yield _gauge("rekey_run_rows", "Rows that it has a move for.", report["rows"])
    yield _gauge("rekey_run_seconds", "For how long it has been going, or went.", report["seconds"])
    if report["eta_seconds"] is not None:
        yield _gauge("rekey_run_eta_seconds", "Until it ends, at the rate so far.", report["eta_seconds"])
    if tick_age is not None:
        yield _gauge("rekey_reconciler_tick_age_seconds", "Since the reconciler's last tick.", tick_age)
    opened = {str(stage.state): report["stages"][stage.name]["left"] for stage in MOVE_STAGES}
    final = {str(state): report[str(state)] for state in _FINAL}
    yield _by("rekey_moves", "Moves by the state that they are in.", "state", opened | final)
    yield _by("rekey_moves_parked", "Parked moves by reason.", "reason", report["parked_reasons"])
    yield _by("rekey_moves_kept", "Moves whose old object stays, by reason.", "reason", report["kept_reasons"])
    yield _by("rekey_moves_not_kept", "Moved without something that they had.", "attribute", report["not_kept_attributes"])


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    for name, text in (
        ("in_hand", "Moves that a worker holds."),
        ("queued", "Moves that a message was sent for."),
        ("later", "Moves that are in their grace."),
        ("oldest_seconds", "For how long the oldest of them has waited."),
        ("rate_bound", "Most moves a second, as set by the operator."),
        ("slowed_to", "Most moves a second, as decided for the cause in rekey_stage_slowed."),
    ):
        yield _by(f"rekey_stage_{name}", text, "stage", {stage: seen[name] for stage, seen in stages.items() if seen[name] is not None})
    slowed = GaugeMetricFamily("rekey_stage_slowed", "1 while a stage is slowed down, with the knob that helps.", labels=["stage", "knob"])
    for stage, seen in stages.items():
        if seen["slowed_to"]:
            knob = _KNOB.search(seen["slowed_by"] or "")
            slowed.add_metric([stage, knob[1] if knob else "other"], 1)
    yield slowed


def _canaries(report: Mapping[str, Any]) -> Iterator[Metric]:
    yield _counter("rekey_canary_reads", "Rows read with their object, as the service reads them.", report["canary_reads"])
    yield _counter("rekey_canary_failures", "Those of them that failed.", report["canary_failed"])


def _tallies(tallied: Mapping[str, Tallied]) -> Iterator[Metric]:
    stages = {stage: seen for stage, seen in tallied.items() if stage != RECONCILER}
    yield _counts(
        "rekey_stage_outcomes", "Moves that a stage is done with, or had an error with.", {k: v.outcomes for k, v in stages.items()}
    )
    yield _counts("rekey_stage_failures", "Those of them that were parked or had an error.", {k: v.failed for k, v in stages.items()})
    refused = {stage: seen.store.slow_downs for stage, seen in stages.items()}
    yield _counts("rekey_store_slow_downs", "Answers by which the store asks for fewer requests (503, 429).", refused)
    took = HistogramMetricFamily("rekey_store_request_seconds", "How long the store took to answer.", labels=["stage"])
    for stage, seen in stages.items():
        groups = zip((*map(str, BOUNDS), "+Inf"), accumulate(seen.store.buckets), strict=True)
        took.add_metric([stage], [(bound, float(count)) for bound, count in groups], seen.store.microseconds / 1_000_000)
    yield took
    found = tallied.get(RECONCILER, Tallied())
    yield _counter("rekey_reconciler_moves_sent", "Moves that the reconciler has sent a message for.", found.outcomes)
    yield _counter("rekey_reconciler_leases_lost", "Moves whose worker was found to have died, or to have slept.", found.failed)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _labelled(GaugeMetricFamily(name, text, labels=[label]), values)


def _counts(name: str, text: str, values: Mapping[str, float]) -> Metric:
    return _labelled(CounterMetricFamily(name, text, labels=["stage"]), values)


def _labelled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> Metric:
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
