"""The ledger's tables, rekey_... . They live beside the assets table, so that a switch is one transaction (S5).

All times are UTC microseconds by the database's clock unless a column says ``store`` (UTC seconds by the object store's clock).
Uniqueness "while live" is a nullable column with a unique index: MySQL has no partial index (H25).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.engine import make_url as _make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from app.database import transaction
from app.errors import UsageError
from app.gauge import BOUNDS
from app.states import MoveState, RunKind, RunState

SCHEMA_VERSION = "5"
GROWN_FROM = ("2", "3", "4")  # versions that lack nothing but whole tables
ROW_ID_LENGTH = 2600  # ASCII characters (app.row_ids); InnoDB indexes at most 3072 bytes, PostgreSQL 2704

metadata = MetaData()

_hash = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")  # SHA-256
# Keys and ids are compared byte for byte whatever the database's default collation (a case-blind one merges Logo and logo).
_text = Text().with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
_long_text = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")  # a TEXT takes 64 KiB
_row_id = String(ROW_ID_LENGTH).with_variant(mysql.VARCHAR(ROW_ID_LENGTH, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
_options: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}


def _one_of(column: str, values: type[MoveState | RunState | RunKind]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


meta = Table(
    "rekey_meta",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("value", _text, nullable=False),
    **_options,
)

plans = Table(
    "rekey_plans",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("bucket", String(255), nullable=False),
    Column("table_name", String(255), nullable=False),
    Column("settings", _text, nullable=False),  # JSON, as planned, no secrets
    Column("table_columns", _text, nullable=False),  # JSON: the table's columns that the settings name, with their types
    Column("equivalence", _text, nullable=False),  # JSON: which spellings were taken for one object
    Column("content", _long_text, nullable=False),  # JSON: figures, samples, problems with a few examples each
    Column("fingerprint", _long_text, nullable=False),  # JSON: the count, and what is to become of some rows
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("version", String(32), nullable=False),
    **_options,
)

runs = Table(
    "rekey_runs",
    metadata,
    Column("no", Integer, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("bucket", String(255), nullable=False),
    Column("table_name", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("origin_no", Integer),  # of a rollback: the run that it takes back
    Column("selection", _text, nullable=False),  # JSON: which rows, where not all
    Column("plan_id", String(32)),  # the plan that it was started from
    Column("state", String(16), nullable=False),
    Column("live_hash", _hash, unique=True),  # of (bucket, table) until the run has ended: one live run each (H32)
    Column("knobs", _text, nullable=False),  # JSON: settings changed since, by `rekey set`
    Column("hold_deletes", Boolean, nullable=False, default=False),  # old objects stay until `rekey release`
    Column("deletes_left", BigInteger),  # of --max-deletes; null: no such bound
    Column("settings", _text, nullable=False),  # JSON, as planned, no secrets
    Column("capabilities", _text, nullable=False),  # JSON, as probed at the start
    Column("rows_estimate", BigInteger, nullable=False),  # counted at the start; sizes batches and progress bars
    Column("next_move", BigInteger, nullable=False, default=1),
    Column("seed_cursor", _text),  # the last row id examined in this pass; null: at the beginning
    Column("seed_pass", Integer, nullable=False, default=1),
    Column("seed_planned", BigInteger, nullable=False, default=0),  # moves planned in this pass
    Column("seed_done", Boolean, nullable=False, default=False),
    Column("seed_due_at", BigInteger, nullable=False, default=0),  # a lost seed message is sent again after this
    Column("unseen", BigInteger, nullable=False, default=0),
    Column("suspect_token", String(32)),  # who may run suspects, one at a time in the whole run (H28)
    Column("suspect_until", BigInteger, nullable=False, default=0),
    Column("deletes_held_until", BigInteger, nullable=False, default=0),  # after a jump of the database's clock (H16)
    Column("tick_at", BigInteger, nullable=False, default=0),
    Column("tick_boot", BigInteger, nullable=False, default=0),  # microseconds since boot on the machine that ticked
    Column("tick_host", String(255), nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("created_by", String(255), nullable=False),
    Column("version", String(32), nullable=False),
    CheckConstraint(_one_of("kind", RunKind), name="rekey_runs_kind"),
    CheckConstraint(_one_of("state", RunState), name="rekey_runs_state"),  # of the table: MariaDB takes no name for a column's
    **_options,
)

moves = Table(
    "rekey_moves",
    metadata,
    Column("run_no", Integer, primary_key=True, autoincrement=False),
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("row_id", _row_id, nullable=False),
    Column("client", _text),
    Column("generation", Integer, nullable=False),
    Column("old_key", _text, nullable=False),
    Column("new_key", _text, nullable=False),
    Column("old_hash", _hash, nullable=False),  # SHA-256 of (bucket, canonical key)
    Column("new_hash", _hash, nullable=False),
    Column("live_hash", _hash, unique=True),  # new_hash while the move is live: no two live moves want one key
    Column("state", String(16), nullable=False),
    Column("stage", String(32)),  # whose work is due: a stage's name in app.pipeline; null in a final state
    Column("parked_from", String(16)),
    Column("reason", String(32)),
    Column("detail", _text),
    Column("waiting", Boolean, nullable=False),  # for the old object of another live move to go
    Column("source_etag", String(255)),
    Column("source_size", BigInteger),
    Column("source_store_time", BigInteger),
    Column("source_version", String(255)),
    Column("copy_etag", String(255)),
    Column("copy_size", BigInteger),
    Column("copy_store_time", BigInteger),
    Column("copy_version", String(255)),
    Column("copy_recorded", Boolean, nullable=False),  # the reply to our write was seen: only then may a clean-up remove the copy (H12)
    Column("claimed_store_time", BigInteger),  # the store's time before the first claim of this generation
    Column("claims", Integer, nullable=False),  # of this generation and state
    Column("attempts", Integer, nullable=False),  # recorded errors
    Column("changes", Integer, nullable=False),  # times that it had to be copied or switched again
    Column("missed_store_time", BigInteger),  # first look that found no source
    Column("deaths", Integer, nullable=False),  # workers that died while alone on this move
    Column("suspect", Boolean, nullable=False),
    Column("lease_token", String(32)),
    Column("lease_until", BigInteger, nullable=False),
    Column("lease_kept", Boolean, nullable=False),  # held to its end on purpose: a request is unanswered (S7)
    Column("not_before", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),  # the reconciler takes no interest before this, but for leases that have ended
    Column("hints", Integer, nullable=False),  # messages sent for this state; > 0 with due_at or the end of a lease ahead: in flight
    Column("grace_seconds", BigInteger, nullable=False),
    Column("switched_at", BigInteger),  # stamped after the commit was seen
    Column("grace_from", BigInteger),  # the switch, or the last sighting of a row on the old key (H29)
    Column("switch_store_time", BigInteger),  # the store's time just before the switch
    Column("looks", Integer, nullable=False),
    Column("sighted", Boolean, nullable=False),  # at the last look another row named the old object (H29)
    Column("intent_at", BigInteger),  # a delete was about to be sent
    Column("updated_at", BigInteger, nullable=False),
    CheckConstraint(_one_of("state", MoveState), name="rekey_moves_state"),
    UniqueConstraint("run_no", "row_id", name="rekey_moves_row"),
    Index("rekey_moves_due", "run_no", "state", "due_at"),
    Index("rekey_moves_old", "old_hash"),
    postgresql_with={"fillfactor": 50},  # room for each row's next version beside it: a claim writes no index then (lease_statements)
    **_options,
)

turns = Table(
    "rekey_turns",  # of stages whose rate is bounded: when the next moves may go; and how often --max-deletes was set
    metadata,
    Column("run_no", Integer, primary_key=True, autoincrement=False),
    Column("stage", String(32), primary_key=True),
    Column("next_at", BigInteger, nullable=False),
    **_options,
)


uploads = Table(
    "rekey_uploads",  # multipart uploads of ours that are not completed or aborted yet, as far as we know
    metadata,
    Column("id", String(32), primary_key=True),
    Column("run_no", Integer, nullable=False),
    Column("move_id", BigInteger, nullable=False),
    Column("lease_token", String(32), nullable=False),  # under which it was begun, until the store refuses to abort it
    Column("object_key", _text, nullable=False),
    Column("upload_id", _text, nullable=False),
    Column("source_etag", String(255)),  # of the version whose parts were copied; set before the completion is sent
    Column("etag", String(255)),  # that the object will then have
    Column("is_gone", Boolean, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Index("rekey_uploads_move", "run_no", "move_id"),
    **_options,
)

losses = Table(
    "rekey_losses",  # of moves whose copy lacks something that its source had
    metadata,
    Column("run_no", Integer, primary_key=True, autoincrement=False),
    Column("move_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("attributes", String(255), nullable=False),  # names of app.fidelity_rules.Attribute, with commas
    **_options,
)

ladders = Table(
    "rekey_ladders",  # of runs that do not take all rows, or not at once
    metadata,
    Column("run_no", Integer, primary_key=True, autoincrement=False),
    Column("steps", _long_text, nullable=False),  # JSON: app.ladder.Step, the first one first
    Column("step", Integer, nullable=False),  # that the run is at, from 1
    Column("is_auto", Boolean, nullable=False),  # goes on by itself after a step without a failure
    Column("waits", Boolean, nullable=False),  # the step is over, and the run rests until the operator lets it go on
    Column("is_over", Boolean, nullable=False),  # the run has ended: what an operator sends on again belongs to this step
    Column("first_pass", Integer, nullable=False),  # of the seed, in this step
    Column("first_move", BigInteger, nullable=False),  # that this step has planned, or will
    Column("planned", BigInteger, nullable=False),  # moves in this step
    Column("planned_before", BigInteger, nullable=False),  # and in those before it
    Column("failed_before", BigInteger, nullable=False),  # canary reads, before this step
    **_options,
)

TOOK = tuple(f"took_{number}" for number in range(len(BOUNDS) + 1))  # requests by how long they took (app.gauge)

throttles = Table(
    "rekey_throttles",  # what the reconciler has decided of how fast a run may go
    metadata,
    Column("run_no", Integer, primary_key=True, autoincrement=False),
    Column("rates", _text, nullable=False),  # JSON: most moves a second, by stage; workers read them with the run
    Column("causes", _text, nullable=False),  # JSON: why, by stage
    Column("rests", String(32)),  # the cause for which the run was paused, if the reconciler has paused it
    Column("why", _text),
    Column("memory", _text, nullable=False),  # JSON: what the rules go by at the next tick
    **_options,
)

tallies = Table(
    "rekey_tallies",  # what each worker's stages have done so far; only ever more
    metadata,
    Column("run_no", Integer, primary_key=True, autoincrement=False),
    Column("worker", String(64), primary_key=True),
    Column("stage", String(32), primary_key=True),
    Column("outcomes", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("slow_downs", BigInteger, nullable=False),
    Column("store_us", BigInteger, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in TOOK),
    Column("noted_at", BigInteger, nullable=False),  # the last outcome; 0: none yet
    **_options,
)

visits = Table(
    "rekey_visits",  # switched moves that the operator's own stage has still to see
    metadata,
    Column("run_no", Integer, primary_key=True, autoincrement=False),
    Column("move_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("due_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),  # that failed
    Column("detail", _text),  # of the last one that failed; before that, a mark of the switch
    Index("rekey_visits_due", "run_no", "due_at"),
    **_options,
)

_ADDED = (("3", uploads), ("4", losses), ("5", ladders), ("5", throttles), ("5", tallies), ("5", visits))  # by the version that added them


def create_ledger(engine: Engine) -> bool:
    """Make the ledger's tables where they are missing, and the deployment's mark; safe to repeat.

    Returns:
        Whether anything had to be made.

    Raises:
        UsageError: The tables are of another version of the product.
    """
    made = not inspect(engine).has_table(meta.name)
    metadata.create_all(engine)
    with transaction(engine) as connection:
        found = _remembered(connection)
        if "schema_version" not in found:
            connection.execute(
                insert(meta), [{"name": "schema_version", "value": SCHEMA_VERSION}, {"name": "deployment", "value": uuid.uuid4().hex}]
            )
            return True
        if found["schema_version"] in GROWN_FROM:
            connection.execute(update(meta).where(meta.c.name == "schema_version").values(value=SCHEMA_VERSION))
            return True
    _check_version(found["schema_version"])
    return made


def ledger_ddl(dialect: Dialect) -> list[str]:
    """The statements that make the ledger, for a database administrator to run."""
    statements = _made(metadata.sorted_tables, dialect)
    rows = [("schema_version", SCHEMA_VERSION), ("deployment", uuid.uuid4().hex)]
    statements.extend(f"INSERT INTO rekey_meta (name, value) VALUES ('{name}', '{value}')" for name, value in rows)
    return [f"{statement};" for statement in statements]


def upgrade_ddl(dialect: Dialect, since: str) -> list[str]:
    """The statements that make a ledger of version *since* one of this version."""
    statements = _made([table for version, table in _ADDED if version > since], dialect)
    statements.append(f"UPDATE rekey_meta SET value = '{SCHEMA_VERSION}' WHERE name = 'schema_version'")
    return [f"{statement};" for statement in statements]


def _made(tables: Iterable[Table], dialect: Dialect) -> list[str]:
    statements: list[str] = []
    for table in tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        statements.extend(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
    return statements


def dialect_of(url: str) -> Dialect:
    """The SQL dialect that a database URL stands for, without connecting."""
    return _make_url(url).get_dialect()()


def deployment(connection: Connection) -> str:
    """The mark of this ledger, which every message carries (S6, case 44).

    Raises:
        UsageError: The ledger's tables are missing or of another version.
    """
    if not inspect(connection).has_table(meta.name):
        raise UsageError(
            "the ledger's tables are missing in this database: run `rekey init` (or have a DBA run what `rekey init --sql` prints)"
        )
    found = _remembered(connection)
    _check_version(found.get("schema_version", "none"))
    return found["deployment"]


def _remembered(connection: Connection) -> dict[str, str]:
    return {row.name: row.value for row in connection.execute(select(meta.c.name, meta.c.value))}


def _check_version(found: str) -> None:
    if found in GROWN_FROM and found < SCHEMA_VERSION:
        raise UsageError(
            f"the ledger's tables are of version {found}, this program needs {SCHEMA_VERSION}: run `rekey init`, which adds to them "
            f"(or have a DBA run what `rekey init --sql --since {found}` prints)"
        )
    if found != SCHEMA_VERSION:
        raise UsageError(f"the ledger's tables are of version {found}, this program needs {SCHEMA_VERSION}: upgrade the older of the two")
