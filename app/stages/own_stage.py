"""The operator's own stage: a function of his that sees each asset once its row was switched, say to purge a CDN (docs/hooks.md).

Beside the chain, not in it: the looks after a switch (S1) wait for nobody. The delete of the old object waits, if the operator says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from app import backoff
from app.errors import UsageError
from app.ledger.records import Run
from app.row_ids import from_text
from app.stages.context import Context
from app.stages.outcomes import clean
from app.states import RunState

LONGEST_WAIT_SECONDS = 60.0
_JITTER = random.Random()  # noqa: S311 - spreads retries, keeps no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchedAsset:
    """An asset whose row names its new key."""

    row_id: tuple[object, ...]  # the values of the primary key
    client: str | None
    old_bucket: str
    old_key: str
    new_bucket: str
    new_key: str


OwnStage = Callable[[Sequence[SwitchedAsset]], object]


def own_stage(name: str) -> OwnStage:
    """The function that REKEY_AFTER_SWITCH names.

    Raises:
        UsageError: There is none.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:
        raise UsageError(f"REKEY_AFTER_SWITCH={name} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise UsageError(f"REKEY_AFTER_SWITCH={name} is no function")
    stage: OwnStage = found
    return stage


def call_own_stage(run: Run, ids: Sequence[int], *, context: Context) -> str:
    """Show the operator's function those of *ids* that it has not seen yet. It may see an asset twice: what it does is repeatable.

    Raises:
        DatabaseUnavailableError: The ledger did not answer; the assets are shown again.
    """
    name = context.settings.after_switch
    if name is None or run.state is RunState.PAUSED:
        return "ignored: the run has no own stage" if name is None else "ignored: run paused"
    wanted = context.visits.open_of(run, list(ids))
    moves = [move for move in context.moves.load(run, list(ids)) if move.id in wanted]
    bucket_of = context.rules.placing.bucket_of
    assets = [
        SwitchedAsset(
            row_id=from_text(move.row_id),
            client=move.client,
            old_bucket=bucket_of(move.old_key),
            old_key=move.old_key,
            new_bucket=bucket_of(move.new_key),
            new_key=move.new_key,
        )
        for move in moves
    ]
    if not assets:
        return "nothing to do"
    try:
        own_stage(name)(assets)
    except Exception as error:  # noqa: BLE001 - whatever it raises
        return _failed(run, sorted(wanted), error, context)
    context.visits.done(run, wanted)
    return f"{len(assets)} seen by {name}"


def _failed(run: Run, ids: Sequence[int], error: Exception, context: Context) -> str:
    detail = clean(f"{type(error).__name__}: {error}")
    wait = backoff.delay(3, base=1.0, cap=LONGEST_WAIT_SECONDS, jitter=_JITTER)
    most = None if context.settings.deletes_wait else context.settings.max_attempts
    given_up = context.visits.failed(run, ids, detail=detail, wait_seconds=wait, most=most)
    return f"failed on {len(ids)}, {given_up} given up: {detail}"
