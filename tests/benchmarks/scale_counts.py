"""What PostgreSQL and Redis say of a run of ``tests.benchmarks.scale``."""

from __future__ import annotations

from typing import Any

import psycopg
import redis

from app.schema import metadata


def wal(connection: psycopg.Connection[Any]) -> int:
    """Bytes of WAL so far."""
    found = connection.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
    return int(found[0]) if found else 0


def commits(connection: psycopg.Connection[Any]) -> int:
    """Transactions so far."""
    found = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return int(found[0]) if found else 0


def ledger_bytes(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Bytes of each table of the ledger that has any worth telling, its indexes apart."""
    sizes = {}
    for table in metadata.tables:
        sizes[table] = connection.execute("SELECT pg_total_relation_size(%s)", (table,)).fetchone()
    names = connection.execute("SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes WHERE relname = 'rekey_moves'")
    found = {table: int(size[0]) for table, size in sizes.items() if size}
    found |= {f"index {name}": int(size) for name, size in names}
    return {"all": sum(size for name, size in found.items() if not name.startswith("index"))} | {
        name: size for name, size in found.items() if name == "rekey_moves" or name.startswith("index")
    }


def commands(broker: redis.Redis) -> dict[str, int]:
    """Commands since the count was begun, by name, the most frequent first."""
    stats: dict[str, Any] = broker.info("commandstats")
    counted = {name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()}
    return {"all": sum(counted.values())} | dict(sorted(counted.items(), key=lambda item: -item[1]))


def statements(connection: psycopg.Connection[Any], most: int, rows: int) -> list[dict[str, Any]]:
    """The *most* statements that PostgreSQL has spent its time on, for each of *rows*."""
    if not most:
        return []
    question = "SELECT query, calls, total_exec_time, rows, wal_bytes FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT %s"
    return [
        {
            "us_an_asset": round(1000 * spent / rows, 2),
            "calls": calls,
            "ms_a_call": round(spent / calls, 3),
            "rows_a_call": round(touched / calls, 1),
            "wal_an_asset": round(float(wal) / rows, 1),
            "query": " ".join(query.split())[:160],
        }
        for query, calls, spent, touched, wal in connection.execute(question, (most,))
    ]
