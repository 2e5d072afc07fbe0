"""docs/transcript.md, command by command: what it shows is what the product prints, with rights and encryption of docs/operations.md.

The page is the script: each line that begins with ``$`` is typed here, and what follows it is compared, ids and figures of time aside.
``REWRITE_TRANSCRIPT=1`` writes what was printed into the page instead; read it again before you commit it.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.service import Asset, Service, make_asset
from tests.least_rights import ACTIONS, BROKER_RIGHTS, Roles, User
from tests.tls import Authority, over_tls, postgres_with_tls, redis_with_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import RedisServer, S3Server, SqlServer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "transcript.md"
ASSETS = 60
MISSING = 2
TABLE, BUCKET = "client_assets", "client-assets"
PREFIX = "careful:"
LOOKING = {"status", "report", "verify"}  # as the user who can only read
_ID = re.compile(r"\b[0-9a-f]{8}\b(?!-)")
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|\+00:00| UTC)?"), "TIME"),
    (re.compile(r"\b[\w.-]+@[\w.-]+"), "SOMEBODY"),
    (re.compile(r"\d+(\.\d+)? s\b"), "N s"),
    (re.compile(r"\d+(\.\d+)? (assets|rows)/s"), "N/s"),
    (re.compile(r"(?<=copied) +\d+(?= +so far)"), " N"),
)


@dataclass(slots=True)
class Typed:
    """One command of the page, and what the page says of it."""

    command: str
    shown: list[str] = field(default_factory=list)


def read(text: str) -> list[Typed]:
    """The commands of the page's console blocks, in order."""
    found: list[Typed] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Typed(line.removeprefix("$ ")))
        elif inside:
            found[-1].shown.append(line)
    return found


def rewritten(text: str, typed: list[Typed]) -> str:
    """The page with what the commands have printed now."""
    left = iter(typed)
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and not line.startswith("$ "):
            continue
        elif inside:
            here = next(left)
            lines += [f"$ {here.command}", *here.shown]
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"


def plain(line: str) -> str:
    """*line* without what differs from run to run."""
    for pattern, word in _VARYING:
        line = pattern.sub(word, line)
    return _ID.sub("ID", line).rstrip()


@pytest.fixture(scope="module")
def deployment(
    postgres: SqlServer, minio: S3Server, redis_of_its_own: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """As operated with care: users who have the page's rights and no others, connections to database and broker that are encrypted."""
    url, roles, user, folder = postgres.make_database(), Roles(postgres), User(minio, BUCKET), tmp_path_factory.mktemp("least")
    roles.fill(url)
    user.may(ACTIONS)
    authority = Authority(folder, "ours")
    rights = BROKER_RIGHTS.replace("rekey:", PREFIX)
    with (
        redis_with_tls(redis_of_its_own, authority, user="rekey", password="s3cret-pass", rights=rights) as broker,
        postgres_with_tls(postgres, authority),
    ):
        worker, reader = (over_tls(roles.urls(url)[role], authority.ca) for role in ("rekey_worker", "rekey_reader"))
        made = Deployment(database_url=url, broker_url=f"{broker}?ssl_ca_certs={authority.ca}", store=minio, folder=folder)
        made.environ |= {"REKEY_DATABASE_URL": worker, "READER": reader, "REKEY_QUEUE_PREFIX": PREFIX}
        made.environ |= {"REKEY_S3_ACCESS_KEY": user.name, "REKEY_S3_SECRET_KEY": user.secret}
        yield made
    postgres.drop_database(url)
    roles.close()
    user.close()


@pytest.fixture
def service(working: Deployment) -> Iterator[Service]:
    """Sixty assets, two of whose objects are missing."""
    made = Service(working.database_url, working.store, table=TABLE, bucket=BUCKET)
    for asset in made.fill(ASSETS)[:MISSING]:
        made.bucket.remove(asset.old_key)
    yield made
    made.close()


@pytest.mark.timeout(600)
def test_transcript_shows_what_the_product_prints(working: Deployment, service: Service) -> None:
    """A whole migration: plan, enqueue, pause, set, resume, retry, verify, report, rollback, again."""
    text = PAGE.read_text()
    typed = read(text)
    now = [Typed(each.command) for each in typed]
    ids: dict[str, str] = {}
    for there, here in zip(typed, now, strict=True):
        here.command = _with(ids, there.command)
        here.shown = _type(working, service, here.command)
        ids |= dict(zip(_ID.findall("\n".join(there.shown)), _ID.findall("\n".join(here.shown)), strict=False))
    if os.environ.get("REWRITE_TRANSCRIPT") == "1":
        PAGE.write_text(rewritten(text, now))
        return

    for there, here in zip(typed, now, strict=True):
        assert [plain(line) for line in here.shown] == [plain(line) for line in there.shown], there.command
    assert service.differences(_assets()) == []


def _with(ids: dict[str, str], command: str) -> str:
    for there, here in ids.items():
        command = command.replace(there, here)
    return command


def _assets() -> list[Asset]:
    return [make_asset(number) for number in range(1, ASSETS + 1)]


def _type(working: Deployment, service: Service, command: str) -> list[str]:
    """Carry out one line; gives what it prints to standard output, or else to standard error, and its exit status."""
    if command.startswith("#"):
        _ACTIONS[command](service)
        return []
    words = shlex.split(command)
    settings = {"REKEY_TABLE": TABLE, "REKEY_S3_BUCKET": BUCKET, "REKEY_COPY_CONCURRENCY": "4"}
    if words[1] in LOOKING:
        settings["REKEY_DATABASE_URL"] = working.environ["READER"]
    ended = working.rekey(*words[1:], seconds=200, **settings)
    shown = (ended.out or ended.err).splitlines()
    return shown + ([f"(exit status {ended.status})"] if ended.status else [])


def _upload(service: Service) -> None:
    for number in range(1, MISSING + 1):
        service.bucket.put(make_asset(number).old_key, make_asset(number).content)


_ACTIONS: dict[str, Callable[[Service], None]] = {"# the service uploads the two files": _upload}
