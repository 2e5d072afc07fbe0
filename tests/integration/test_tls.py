"""Encrypted connections as docs/operations.md gives them: a wrong authority, name or password ends in one clear line without the secret.

That a whole run goes over them is seen in tests/acceptance/test_transcript.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from app.doctor.broker import check_broker
from app.doctor.database import check_database
from app.doctor.findings import Level
from app.settings import Settings
from tests.least_rights import BROKER_RIGHTS
from tests.tls import HOST, Authority, over_tls, postgres_with_tls, redis_with_tls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.doctor.findings import Finding
    from tests.servers import RedisServer, SqlServer

PASSWORD, WRONG = "s3cret-pass-1", "wr0ng-pass-2"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """The servers', and one that they have nothing to do with."""
    folder = tmp_path_factory.mktemp("tls")
    return Authority(folder, "ours"), Authority(folder, "strange")


@pytest.fixture(scope="module")
def broker(redis_of_its_own: RedisServer, authorities: tuple[Authority, Authority]) -> Iterator[str]:
    """The URL of a broker with TLS, without what verifies it."""
    rights = BROKER_RIGHTS.replace("...", PASSWORD)
    with redis_with_tls(redis_of_its_own, authorities[0], user="rekey", password=PASSWORD, rights=rights) as url:
        yield url


@pytest.fixture(scope="module")
def database(postgres: SqlServer, authorities: tuple[Authority, Authority]) -> Iterator[str]:
    """The URL of a database with TLS, without what verifies it."""
    with postgres_with_tls(postgres, authorities[0]):
        yield postgres.url


def first_line(found: list[Finding]) -> tuple[Level, str, str]:
    """What is wrong first; no secret is in any of it."""
    assert [secret for secret in (PASSWORD, WRONG) if secret in json.dumps([str(each) for each in found])] == []
    worst = [each for each in found if each.level in {Level.UNREACHABLE, Level.PROBLEM}] or found
    assert "\n" not in worst[0].text
    return worst[0].level, worst[0].text, worst[0].remedy


@dataclass(frozen=True, kw_only=True)
class Door:
    """How somebody comes to a server, and what doctor says of that: words of the finding, and of its remedy."""

    ca: str = "ours"
    host: str = HOST
    password: str = PASSWORD
    text: str
    remedy: str


@pytest.mark.parametrize(
    "door",
    [
        Door(text="answers", remedy=""),
        Door(ca="strange", text="certificate verify failed", remedy="ssl_ca_certs"),
        Door(host="127.0.0.1", text="certificate is not valid for '127.0.0.1'", remedy="ssl_ca_certs"),
        Door(password=WRONG, text="it refuses the login", remedy="user and password in REKEY_BROKER_URL"),
    ],
    ids=["right", "other authority", "other name", "other password"],
)
def test_broker_with_tls(door: Door, broker: str, authorities: tuple[Authority, Authority]) -> None:
    """The certificate is verified by its authority and its name; the user has no right but those of the page."""
    ca = authorities[0].ca.with_stem(door.ca)
    url = f"{broker.replace(HOST, door.host).replace(PASSWORD, door.password)}?ssl_ca_certs={ca}"
    seen = first_line(check_broker(Settings(broker_url=SecretStr(url))))

    assert (door.text in seen[1], door.remedy in seen[2]) == (True, True), seen
    assert (seen[0] is Level.OK) == (not door.remedy)


@pytest.mark.parametrize(
    "door",
    [
        Door(text="no table 'none'", remedy="correct the setting"),
        Door(ca="strange", text="certificate verify failed", remedy="sslrootcert"),
        Door(host="127.0.0.1", text="does not match host name", remedy="sslrootcert"),
        Door(password=WRONG, text="password authentication failed", remedy="user and password in REKEY_DATABASE_URL"),
        Door(ca="absent", text="does not exist", remedy="sslrootcert"),
    ],
    ids=["right", "other authority", "other name", "other password", "no file"],
)
def test_database_with_tls(door: Door, database: str, authorities: tuple[Authority, Authority]) -> None:
    """By sslmode=verify-full."""
    password = WRONG if door.password == WRONG else ""
    url = over_tls(database, authorities[0].ca.with_stem(door.ca), host=door.host, password=password)
    seen = first_line([each for each in check_database(Settings(database_url=SecretStr(url), table="none")) if "ledger" not in each.text])

    assert (door.text in seen[1], door.remedy in seen[2]) == (True, True), seen
