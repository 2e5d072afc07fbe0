"""What ``enqueue --plan ID`` holds a plan to: the same settings, the same columns, a table that has not moved away from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app import resources
from app.assets import Assets
from app.errors import UsageError
from app.ledger.saved_plans import PlanStore, SavedPlan
from app.object_keys import Equivalence
from app.plan.drift import measure
from app.planning import Rules
from app.reflection import column, reflect
from app.run_settings import RUN_SETTINGS, table_names
from app.settings_table import env_name

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from app.settings import Settings

MAX_DRIFT = 1.0  # per cent
WHOLE = 100.0


def find_plan(settings: Settings, plan_id: str) -> SavedPlan:
    """The plan that the operator means.

    Raises:
        UsageError: There is none, or it is not one for these settings.
    """
    resources.configure(settings)
    resources.deployment()
    plan = PlanStore(resources.engine()).get(plan_id)
    for name in ("s3_endpoint", *RUN_SETTINGS):
        mine, planned = getattr(settings, name), plan.settings.get(name)
        mine = list(mine) if isinstance(mine, tuple) else mine
        if name in settings.model_fields_set and mine != planned:
            raise UsageError(
                f"plan {plan.id[:8]} was made with {env_name(name.removesuffix('_mode'))} {planned!r}, this command has {mine!r}: "
                "leave it out or as it was, or plan again"
            )
    return plan


def planned_settings(plan: SavedPlan) -> Settings:
    """This process's settings with those of the plan in their place."""
    return resources.recorded_settings(plan.settings)


def refuse_drift(plan: SavedPlan, *, engine: Engine, settings: Settings, rows_now: int, max_drift: float) -> None:
    """Raise UsageError if the table is not the one that was planned, or more than *max_drift* per cent of it have changed."""
    if named_columns(engine, settings) != plan.table_columns:
        raise UsageError(f"the table {settings.table!r} has other columns or types than when plan {plan.id[:8]} was made: plan again")
    equivalence = Equivalence(**plan.equivalence)
    rules = Rules(bucket=settings.s3_bucket, template=settings.key_template, equivalence=equivalence, target_bucket=settings.target_bucket)
    assets = Assets(engine, table_names(settings), equivalence)
    drift = measure(plan.fingerprint, engine=engine, assets=assets, rules=rules, rows_now=rows_now)
    if drift.share * WHOLE > max_drift:
        raise UsageError(
            f"the table has drifted by {drift.share * WHOLE:.2g} % since plan {plan.id[:8]} was made, more than --max-drift {max_drift:g}: "
            f"{drift}; plan again"
        )


def named_columns(engine: Engine, settings: Settings) -> dict[str, str]:
    """The columns that a run reads, with their types: a table that was made anew shows by them."""
    names = table_names(settings)
    table = reflect(engine, settings.table)
    wanted = [*names.id_columns, names.client_column, names.key_column, *names.template_columns]
    return {name: str(column(table, name).type) for name in [*wanted, *([names.name_column] if names.name_column else [])]}


def check_max_drift(given: float | None, *, plan_id: str | None) -> float:
    """The bound, in per cent.

    Raises:
        UsageError: It is none, or there is no plan to drift away from.
    """
    if given is None:
        return MAX_DRIFT
    if plan_id is None:
        raise UsageError("--max-drift goes with --plan ID: without a plan there is nothing to drift away from")
    if not 0 <= given <= WHOLE or math.isnan(given):
        raise UsageError(f"--max-drift {given:g} is no share: give per cent from 0 to 100")
    return given
