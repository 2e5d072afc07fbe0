"""The ledger's tables as earlier versions of the product made them, written down: what `rekey init` finds in databases of that time."""

from __future__ import annotations

_WORDS = {
    "sqlite": {
        "text": "TEXT",
        "long_text": "TEXT",
        "row_id": "VARCHAR(2600)",
        "hash": "BLOB",
        "boolean": "BOOLEAN",
        "serial": "INTEGER",
        "number": "INTEGER",
        "end": "",
    },
    "postgresql": {
        "text": "TEXT",
        "long_text": "TEXT",
        "row_id": "VARCHAR(2600)",
        "hash": "BYTEA",
        "boolean": "BOOLEAN",
        "serial": "SERIAL",
        "number": "BIGINT",
        "end": "",
    },
    "mysql": {
        "text": "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "long_text": "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "row_id": "VARCHAR(2600) CHARACTER SET ascii COLLATE ascii_bin",
        "hash": "BINARY(32)",
        "boolean": "BOOL",
        "serial": "INTEGER AUTO_INCREMENT",
        "number": "BIGINT",
        "end": "ENGINE=InnoDB CHARSET=utf8mb4",
    },
}
_WORDS["mariadb"] = _WORDS["mysql"]
_STATES = "'planned', 'copied', 'renamed', 'deleted', 'in_place', 'kept', 'parked', 'superseded', 'cancelled', 'rolled_back'"

_VERSION_2 = """
CREATE TABLE rekey_meta (
    name VARCHAR(100) NOT NULL, value {text} NOT NULL, PRIMARY KEY (name)
){end};
CREATE TABLE rekey_moves (
    run_no INTEGER NOT NULL, id {number} NOT NULL, row_id {row_id} NOT NULL, client {text}, generation INTEGER NOT NULL,
    old_key {text} NOT NULL, new_key {text} NOT NULL, old_hash {hash} NOT NULL, new_hash {hash} NOT NULL, live_hash {hash},
    state VARCHAR(16) NOT NULL, stage VARCHAR(32), parked_from VARCHAR(16), reason VARCHAR(32), detail {text}, waiting {boolean} NOT NULL,
    source_etag VARCHAR(255), source_size BIGINT, source_store_time BIGINT, source_version VARCHAR(255), copy_etag VARCHAR(255),
    copy_size BIGINT, copy_store_time BIGINT, copy_version VARCHAR(255), copy_recorded {boolean} NOT NULL, claimed_store_time BIGINT,
    claims INTEGER NOT NULL, attempts INTEGER NOT NULL, changes INTEGER NOT NULL, missed_store_time BIGINT, deaths INTEGER NOT NULL,
    suspect {boolean} NOT NULL, lease_token VARCHAR(32), lease_until BIGINT NOT NULL, lease_kept {boolean} NOT NULL,
    not_before BIGINT NOT NULL, due_at BIGINT NOT NULL, hints INTEGER NOT NULL, grace_seconds BIGINT NOT NULL, switched_at BIGINT,
    grace_from BIGINT, switch_store_time BIGINT, looks INTEGER NOT NULL, sighted {boolean} NOT NULL, intent_at BIGINT,
    updated_at BIGINT NOT NULL, PRIMARY KEY (run_no, id),
    CONSTRAINT rekey_moves_state CHECK (state IN ({states})),
    CONSTRAINT rekey_moves_row UNIQUE (run_no, row_id), UNIQUE (live_hash)
){end};
CREATE INDEX rekey_moves_due ON rekey_moves (run_no, state, due_at);
CREATE INDEX rekey_moves_old ON rekey_moves (old_hash);
CREATE TABLE rekey_plans (
    id VARCHAR(32) NOT NULL, bucket VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL, settings {text} NOT NULL,
    table_columns {text} NOT NULL, equivalence {text} NOT NULL, content {long_text} NOT NULL, fingerprint {long_text} NOT NULL,
    created_at BIGINT NOT NULL, created_by VARCHAR(255) NOT NULL, version VARCHAR(32) NOT NULL, PRIMARY KEY (id)
){end};
CREATE TABLE rekey_runs (
    no {serial} NOT NULL, id VARCHAR(32) NOT NULL, bucket VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
    kind VARCHAR(16) NOT NULL, origin_no INTEGER, selection {text} NOT NULL, plan_id VARCHAR(32), state VARCHAR(16) NOT NULL,
    live_hash {hash}, knobs {text} NOT NULL, hold_deletes {boolean} NOT NULL, deletes_left BIGINT, settings {text} NOT NULL,
    capabilities {text} NOT NULL, rows_estimate BIGINT NOT NULL, next_move BIGINT NOT NULL, seed_cursor {text},
    seed_pass INTEGER NOT NULL, seed_planned BIGINT NOT NULL, seed_done {boolean} NOT NULL, seed_due_at BIGINT NOT NULL,
    unseen BIGINT NOT NULL, suspect_token VARCHAR(32), suspect_until BIGINT NOT NULL, deletes_held_until BIGINT NOT NULL,
    tick_at BIGINT NOT NULL, tick_boot BIGINT NOT NULL, tick_host VARCHAR(255) NOT NULL, created_at BIGINT NOT NULL, finished_at BIGINT,
    created_by VARCHAR(255) NOT NULL, version VARCHAR(32) NOT NULL, PRIMARY KEY (no),
    CONSTRAINT rekey_runs_kind CHECK (kind IN ('move', 'rollback')),
    CONSTRAINT rekey_runs_state CHECK (state IN ('running', 'paused', 'cancelled', 'finished')), UNIQUE (id), UNIQUE (live_hash)
){end};
CREATE TABLE rekey_turns (
    run_no INTEGER NOT NULL, stage VARCHAR(32) NOT NULL, next_at BIGINT NOT NULL, PRIMARY KEY (run_no, stage)
){end}
"""

_VERSION_3 = """
CREATE TABLE rekey_uploads (
    id VARCHAR(32) NOT NULL, run_no INTEGER NOT NULL, move_id BIGINT NOT NULL, lease_token VARCHAR(32) NOT NULL, object_key {text} NOT NULL,
    upload_id {text} NOT NULL, source_etag VARCHAR(255), etag VARCHAR(255), is_gone {boolean} NOT NULL, begun_at BIGINT NOT NULL,
    PRIMARY KEY (id)
){end};
CREATE INDEX rekey_uploads_move ON rekey_uploads (run_no, move_id)
"""
_VERSION_4 = """
CREATE TABLE rekey_losses (
    run_no INTEGER NOT NULL, move_id {number} NOT NULL, attributes VARCHAR(255) NOT NULL, PRIMARY KEY (run_no, move_id)
){end}
"""
_PARTS = (("2", _VERSION_2), ("3", _VERSION_3), ("4", _VERSION_4))
DEPLOYMENT = "0123456789abcdef0123456789abcdef"


def statements(dialect: str, version: str) -> list[str]:
    """What made the tables of *version* on a database of *dialect*, its mark included."""
    text = ";".join(part for since, part in _PARTS if since <= version)
    made = [statement.strip() for statement in text.format(states=_STATES, **_WORDS[dialect]).split(";")]
    marks = (("schema_version", version), ("deployment", DEPLOYMENT))
    return [*made, *(f"INSERT INTO rekey_meta (name, value) VALUES ('{name}', '{value}')" for name, value in marks)]
