"""Making a plan from the settings, and saving it: the only thing that ``rekey plan`` writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, exc

from app import resources
from app.cli import product_version, starting
from app.cli.identity import operator
from app.cli.plan_use import named_columns
from app.database import MICROSECONDS, brief, is_transient, open_engine, translated
from app.errors import UsageError
from app.ledger.saved_plans import PlanStore, SavedPlan, past_rate
from app.plan.bucket import HEADS_AT_ONCE
from app.plan.making import Made, Planner, Progress, make_plan
from app.run_settings import run_settings, table_names
from app.settings import Settings

STATEMENT_SECONDS = 600  # a page of a WHERE that few rows meet reads much of the table


def make(
    settings: Settings, *, thorough: bool, sample: int, save: bool, prices: Mapping[str, float] | None, report: Progress
) -> dict[str, Any]:
    """Make a plan, and save it if *save*.

    Raises:
        UsageError: The table, the bucket or (where the plan shall be saved) the ledger is not there.
    """
    resources.configure(settings)
    url = settings.database_url.get_secret_value()
    if save:
        _need_ledger()
    engine = open_engine(url, pool_size=3, statement_seconds=STATEMENT_SECONDS)
    try:
        with translated():
            live = resources.runs().live(settings.s3_bucket, settings.table) if save else None
            made = _made(settings, engine, thorough=thorough, sample=sample, ledger=save, prices=prices, report=report)
            made.content["live_run"] = live.id if live else None
            kept = _keep(settings, engine, made) if save else None
    except exc.DBAPIError as error:
        if not settings.where or is_transient(error):
            raise
        raise UsageError(f"REKEY_WHERE: the database refuses it: {brief(error)}") from error
    finally:
        engine.dispose()
    return _as_object(made.content, kept)


def saved(settings: Settings, plan_id: str) -> dict[str, Any]:
    """A plan that was saved, as it was printed then."""
    resources.configure(settings)
    resources.deployment()
    found = PlanStore(resources.engine()).get(plan_id)
    return _as_object(found.content, found)


def _need_ledger() -> None:
    resources.engine()  # a database that is not there is none to plan without saving
    try:
        resources.deployment()
    except UsageError as error:
        raise UsageError(f"{error}; or plan without saving: --no-save") from None


def _made(
    settings: Settings, engine: Engine, *, thorough: bool, sample: int, ledger: bool, prices: Mapping[str, float] | None, report: Progress
) -> Made:
    names = table_names(settings)
    starting.refuse_unfit_table(engine, settings)
    with starting.explained(settings):
        store = resources.store_of(settings, None, pool_size=HEADS_AT_ONCE)
        try:
            starting.greet(store)
            planner = Planner(
                engine=engine,
                names=names,
                store=store,
                settings=settings,
                capabilities=starting.known_capabilities(settings) if ledger else None,
                thorough=thorough,
                sample=sample,
                prices=prices,
                rate=past_rate(engine, bucket=settings.s3_bucket, table_name=settings.table) if ledger else None,
            )
            return make_plan(planner, report)
        finally:
            store.close()


def _keep(settings: Settings, engine: Engine, made: Made) -> SavedPlan:
    return PlanStore(engine).save(
        bucket=settings.s3_bucket,
        table_name=settings.table,
        user=operator(),
        version=product_version(),
        settings=run_settings(settings),
        table_columns=named_columns(engine, settings),
        equivalence=dataclasses.asdict(made.equivalence),
        content=made.content,
        fingerprint=made.fingerprint,
    )


def _as_object(content: Mapping[str, Any], kept: SavedPlan | None) -> dict[str, Any]:
    """The plan for ``--json``."""
    if kept is None:
        return {"plan": None, "saved": False, **content}
    created_at = datetime.fromtimestamp(kept.created_at / MICROSECONDS, UTC).isoformat(timespec="seconds")
    return {"plan": kept.id, "saved": True, "created_at": created_at, "created_by": kept.created_by, "version": kept.version, **content}
