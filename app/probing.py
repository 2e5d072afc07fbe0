"""What a run may be held back by that only the operator knows: a SELECT, a URL; and how far the database's replicas are behind."""

from __future__ import annotations

from sqlalchemy import Engine, exc, literal_column, select, text

from app.database import brief, transaction
from app.errors import RekeyError, RolledBackError
from app.web import OK, ask

SECONDS = 2.0  # for an answer by HTTP
_NO = frozenset({"", "0", "f", "false", "n", "no", "off"})
# Of a replica that says nothing any more the lag is as old as its last word; one that has all there is has none, whatever it said last.
# Who only keeps the log (pg_receivewal, a back-up) replays nothing, and is no replica that anybody reads.
_LAG = (
    "(SELECT max(CASE WHEN replay_lsn >= pg_current_wal_lsn() THEN 0 ELSE greatest(coalesce(extract(epoch FROM replay_lag), 0), "
    "extract(epoch FROM clock_timestamp() - reply_time)) END) FROM pg_stat_replication WHERE replay_lsn IS NOT NULL)"
)


def sql_says_no(engine: Engine, question: str) -> str | None:
    """Why the operator's SELECT holds the run: None if its one value is true."""
    try:
        with transaction(engine, read_only=True) as connection:
            row = connection.execute(text(question.replace(":", r"\:"))).first()
    except exc.ResourceClosedError:
        return "what REKEY_PROBE_SQL holds is no SELECT: it gives no rows"
    except (exc.DBAPIError, RolledBackError) as error:
        return f"the database refuses the SELECT of REKEY_PROBE_SQL: {brief(error)}"
    except RekeyError:  # the database is away, for the run too
        raise
    except Exception as error:  # noqa: BLE001 - drivers have errors of their own for some texts, and none of them is a yes
        return f"the SELECT of REKEY_PROBE_SQL cannot be asked: {brief(error)}"
    if row is None:
        return "the SELECT of REKEY_PROBE_SQL gives no row"
    return None if _is_true(row[0]) else f"the SELECT of REKEY_PROBE_SQL says {row[0]}"


def _is_true(value: object) -> bool:
    """Whether a value of the database means yes; a bit of MySQL comes as bytes, and what is no boolean may come as text."""
    if isinstance(value, bytes):
        return any(value)
    return value.strip().lower() not in _NO if isinstance(value, str) else bool(value)


def url_says_no(url: str) -> str | None:
    """Why the operator's URL holds the run: None if it answers 2xx."""
    status = ask("GET", url, seconds=SECONDS)
    if status in OK:
        return None
    return f"REKEY_PROBE_URL answers {status}" if status else f"REKEY_PROBE_URL gives no answer within {SECONDS:g} s"


def replica_lag(engine: Engine) -> float:
    """Seconds by which the replica that is furthest behind is; 0 where there is none, or the database is no PostgreSQL."""
    if engine.dialect.name != "postgresql":
        return 0.0
    with transaction(engine, read_only=True) as connection:
        return float(connection.execute(select(literal_column(_LAG))).scalar() or 0.0)
