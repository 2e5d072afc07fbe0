"""Which settings belong to a run, and not to the worker that happens to serve it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.assets import TableNames
from app.settings import Settings

# What slows a run down, or pauses it: of the run, and steerable.
BRAKES = (
    "adapt",
    "store_latency_ms",
    "database_latency_ms",
    "replica_lag_seconds",
    "broker_depth",
    "window",
    "probe_sql",
    "guard_percent",
    "guard_outcomes",
)
# What belongs to a run and not to the worker that happens to serve it; taken from the run's record.
RUN_SETTINGS = (
    "s3_bucket",
    "target_bucket",
    "table",
    "id_column",
    "client_column",
    "key_column",
    "name_column",
    "template",
    "on_collision",
    "where",
    "references",
    "version_column",
    "grace_seconds",
    "settle_seconds",
    "look_seconds",
    "canary_reads",
    "copy_mode",
    "fidelity",
    "verify",
    "journal",
    "copy_rate",
    "rename_rate",
    "delete_rate",
    *BRAKES,
    "after_switch",
    "deletes_wait",
)
# What `rekey set` changes of a run under way; the rest of its settings is what its moves were planned by.
KNOBS = ("grace_seconds", "batch_size", "max_in_flight", "canary_reads", "copy_rate", "rename_rate", "delete_rate", *BRAKES, "deletes_wait")


def with_recorded(own: Settings, recorded: Mapping[str, Any]) -> Settings:
    """A worker's *own* settings with those on record of a run or a plan in their place."""
    values = {name: recorded[name] for name in RUN_SETTINGS if name in recorded}  # an older program knew fewer
    if "references" in values:
        values["references"] = tuple(values["references"])
    return own.model_copy(update=values)


def run_settings(values: Settings) -> dict[str, Any]:
    """What a run's record keeps of the settings: all that is no secret."""
    return values.public() | {name: getattr(values, name) for name in RUN_SETTINGS}


def table_names(values: Settings) -> TableNames:
    """The names of the assets table and its columns."""
    return TableNames(
        table=values.table,
        id_columns=values.id_columns,
        client_column=values.client_column,
        key_column=values.key_column,
        name_column=values.name_column,
        template_columns=values.key_template.columns,
        where=values.where,
        references=values.references,
        version_column=values.version_column,
    )
