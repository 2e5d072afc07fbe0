"""What the ledger says at a moment, asked by plain SQL: how far the run is, and what is in flight for a fault to hit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from tests.chaos.plan import STAGES

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment

_NOW = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
_HELD = f"lease_token IS NOT NULL AND NOT lease_kept AND lease_until > {_NOW}"
_STATES = "SELECT state, COUNT(*) FROM rekey_moves GROUP BY state ORDER BY state"
_LEASED = f"SELECT stage, COUNT(*) FROM rekey_moves WHERE {_HELD} GROUP BY stage"
_TOKENS = f"SELECT DISTINCT lease_token FROM rekey_moves WHERE {_HELD} AND stage = :stage"
_TOKENS_OF = f"SELECT COUNT(*) FROM rekey_moves WHERE {_HELD} AND stage = :stage AND lease_token = ANY(:tokens)"
_HINTED = f"SELECT COUNT(*) FROM rekey_moves WHERE lease_token IS NULL AND hints > 0 AND due_at > {_NOW} AND stage IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Progress:
    """How many rows stand so; of *total*, those that no page of the seed has planned yet are in no state."""

    states: Mapping[str, int]
    total: int

    @property
    def copied(self) -> float:
        """Which share is past the copy stage."""
        return (sum(self.states.values()) - self.states.get("planned", 0)) / self.total

    def __str__(self) -> str:
        """In a few words."""
        return ", ".join(f"{count} {state}" for state, count in self.states.items()) or "nothing planned"


class Evidence:
    """Questions to ledger and broker; while one of them is away, the answer is that nothing is there."""

    def __init__(self, deployment: Deployment, *, total: int) -> None:
        self._engine = create_engine(deployment.database_url, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True)
        self._broker = redis.Redis.from_url(deployment.environ["REKEY_BROKER_URL"], socket_timeout=2)
        self._prefix = deployment.environ["REKEY_QUEUE_PREFIX"]
        self._total = total

    def ask(self, question: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows of an answer."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(question), values)]

    def _ask_if_there(self, question: str, **values: object) -> list[tuple[Any, ...]]:
        with suppress(DBAPIError):
            return self.ask(question, **values)
        return []

    def progress(self) -> Progress:
        """How far the run is."""
        return Progress(dict(self._ask_if_there(_STATES)), self._total)

    def leased(self, stage: str | None = None) -> int:
        """Moves that some worker has in hand (for this stage)."""
        return sum(count for of_stage, count in self._ask_if_there(_LEASED) if stage in {None, of_stage})

    def tokens(self, stage: str) -> list[str]:
        """The leases that are held for a stage."""
        return [token for (token,) in self._ask_if_there(_TOKENS, stage=stage)]

    def leased_under(self, tokens: list[str], stage: str) -> int:
        """Moves of a stage that are still held under one of these leases."""
        return sum(count for (count,) in self._ask_if_there(_TOKENS_OF, stage=stage, tokens=tokens))

    def hinted(self) -> int:
        """Moves for which a message is under way."""
        return sum(count for (count,) in self._ask_if_there(_HINTED))

    def queued(self) -> int:
        """Messages that wait in the stages' queues."""
        with suppress(redis.RedisError):
            return sum(int(self._broker.llen(f"{self._prefix}{queue}")) for queue in STAGES)  # type: ignore[arg-type] # no awaitable here
        return 0

    def waits(self) -> bool:
        """Whether the run rests after a step of its ladder."""
        return bool(self._ask_if_there("SELECT 1 FROM rekey_ladders WHERE waits"))

    def rests(self) -> bool:
        """Whether the reconciler has paused the run for the operator's probe."""
        asked = "SELECT 1 FROM rekey_throttles, rekey_runs WHERE run_no = no AND rests = 'probe' AND state = 'paused'"
        return bool(self._ask_if_there(asked))

    def failed_read(self) -> str | None:
        """What the canary read was told for which the run is paused."""
        asked = "SELECT value FROM rekey_meta, rekey_runs WHERE name = 'canary:' || id AND state = 'paused'"
        for (value,) in self._ask_if_there(asked):
            noted = json.loads(value)
            return str(noted["last_failure"]) if noted["stopped"] else None
        return None

    def slowed(self) -> bool:
        """Whether a rate was decided for any stage."""
        return bool(self._ask_if_there("SELECT 1 FROM rekey_throttles WHERE rates <> '{}'"))

    def ended(self) -> bool:
        """Whether the run has."""
        return bool(self._ask_if_there("SELECT 1 FROM rekey_runs WHERE finished_at IS NOT NULL"))

    def pause_broker(self, seconds: float) -> None:
        """Let Redis answer nobody for so long."""
        self._broker.client_pause(int(seconds * 1000), all=True)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
        self._broker.close()
