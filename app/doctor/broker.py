"""Is the broker there, recent enough, and set up so that it keeps messages?"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoPermissionError

from app.doctor.findings import Finding, Findings

if TYPE_CHECKING:
    from app.settings import Settings

TIMEOUT_SECONDS = 5
LEAST_VERSION = (6, 2)  # kombu 5.7 uses commands of Redis 6.2
KEEPING = "noeviction"
_REMEDY = "start it, or correct REKEY_BROKER_URL"


def check_broker(settings: Settings) -> list[Finding]:
    """Try the broker: an answer, its version, its role, the right to write, eviction, persistence."""
    found = Findings("broker")
    client = connect(settings.broker_url.get_secret_value())
    try:
        info: dict[str, Any] = client.info()
        _check_version(info, found)
        _check_writing(client, settings.queue_prefix, found)
        _check_keeping(info, found)
    except redis.AuthenticationError as error:
        found.unreachable(f"it refuses the login: {error}", remedy="correct user and password in REKEY_BROKER_URL")
    except NoPermissionError as error:
        found.problem(f"the login lacks a right: {error}", remedy="allow it all commands on keys below REKEY_QUEUE_PREFIX, and INFO")
    except (redis.RedisError, OSError) as error:
        remedy = (
            "give its CA by ssl_ca_certs in REKEY_BROKER_URL, or correct host or certificate" if "certificate" in str(error) else _REMEDY
        )
        found.unreachable(f"it does not answer: {error}", remedy=remedy)
    finally:
        client.close()
    return found


def eviction(settings: Settings) -> str | None:
    """The policy by which the broker throws messages away when its memory is full; None where it keeps them, or does not say."""
    client = connect(settings.broker_url.get_secret_value())
    try:
        policy = str(client.info("memory").get("maxmemory_policy", KEEPING))
    except (redis.RedisError, OSError):
        return None
    finally:
        client.close()
    return None if policy == KEEPING else policy


def connect(url: str) -> redis.Redis:
    """A client for a broker URL as kombu takes it; every call ends after TIMEOUT_SECONDS."""
    url = re.sub(r"^redis\+socket://", "unix://", url)  # kombu's word for what redis-py calls unix
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)


def _check_version(info: dict[str, Any], found: Findings) -> None:
    name, text = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    numbers = tuple(int(number) for number in re.findall(r"\d+", str(info["redis_version"]))[:2])
    if numbers < LEAST_VERSION:
        found.problem(f"{name} {text} is too old", remedy="use Redis 6.2 or later, or Valkey")
    else:
        found.ok(f"{name} {text} answers")


def _check_writing(client: redis.Redis, prefix: str, found: Findings) -> None:
    key = f"{prefix}doctor-{secrets.token_hex(8)}"
    try:
        client.set(key, "", ex=60)
        client.delete(key)
    except redis.ReadOnlyError:
        found.problem("it is a replica and takes no messages", remedy="give the primary in REKEY_BROKER_URL")
    except redis.OutOfMemoryError:
        found.problem("its memory is full and it takes no messages", remedy="raise its maxmemory, or remove what else it holds")


def _check_keeping(info: dict[str, Any], found: Findings) -> None:
    policy = str(info.get("maxmemory_policy", KEEPING))
    if policy != KEEPING:
        found.problem(
            f"maxmemory-policy is {policy}: it throws messages away when its memory is full",
            remedy="CONFIG SET maxmemory-policy noeviction, and the same in its configuration file",
        )
    if not info.get("aof_enabled"):
        found.note(
            "messages do not survive its restart: the ledger sends them again, some minutes later", remedy="appendonly yes keeps them"
        )
