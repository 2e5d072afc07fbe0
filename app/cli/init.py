"""``rekey init``: the ledger's tables, made or printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from sqlalchemy import exc

from app import schema
from app.cli.options import echo_json, json_flag, settings_flags
from app.database import brief, is_denied, open_engine, refuse_replica, transaction
from app.errors import UsageError

if TYPE_CHECKING:
    from app.settings import Settings


@click.command()
@click.option("--sql", is_flag=True, help="Print the SQL for a DBA instead; nothing is sent to the database.")
@click.option(
    "--since", type=click.Choice(schema.GROWN_FROM), help="With --sql: only what tables of this version lack, as `rekey doctor` names it."
)
@json_flag
@settings_flags(required=("database_url",))
def init(*, settings: Settings, sql: bool, since: str | None, as_json: bool) -> None:
    """Make the ledger's tables beside the assets table, or print their SQL for a DBA; safe to repeat."""
    url = settings.database_url.get_secret_value()
    if since is not None and not sql:
        raise click.UsageError("--since goes with --sql: without it `rekey init` sees by itself what is there")
    if sql:
        dialect = schema.dialect_of(url)
        statements = schema.ledger_ddl(dialect) if since is None else schema.upgrade_ddl(dialect, since)
        if as_json:
            echo_json({"schema_version": schema.SCHEMA_VERSION, "sql": statements})
        else:
            click.echo("\n".join(statements))
        return
    engine = open_engine(url, pool_size=1, may_create=True)
    try:
        with transaction(engine, read_only=True) as connection:
            refuse_replica(connection)
        made = schema.create_ledger(engine)
    except exc.DBAPIError as error:
        if not is_denied(error):
            raise
        raise UsageError(f"{engine.url.username} may not make tables: {brief(error)}; it needs USAGE and CREATE on the schema") from error
    finally:
        engine.dispose()
    if as_json:
        echo_json({"schema_version": schema.SCHEMA_VERSION, "made": made})
    else:
        click.echo(f"the ledger's tables are {'made' if made else 'there already'} (version {schema.SCHEMA_VERSION})")
