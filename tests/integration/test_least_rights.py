"""docs/operations.md, its policy and its grants: with just these all is well, without any one of them doctor names it.

What is read here is the page's own text. That a whole run needs no more is seen in tests/acceptance/test_transcript.py.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from app import resources
from app.cli import main
from app.doctor.database import check_database
from app.doctor.findings import Finding, Level
from app.doctor.store import check_store
from app.settings import Settings
from tests.least_rights import ACTIONS, GRANTS, Roles, User, with_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.servers import S3Server, SqlServer

DONE, ERROR = 0, 1


@pytest.fixture(scope="module")
def user(minio: S3Server) -> Iterator[User]:
    """A user of the store and a bucket that is its alone."""
    made = User(minio, f"assets-{secrets.token_hex(4)}")
    yield made
    made.close()


@pytest.fixture(scope="module")
def roles(postgres: SqlServer) -> Iterator[Roles]:
    """The three users of the page."""
    made = Roles(postgres)
    yield made
    made.close()


def bad(found: Sequence[Finding]) -> list[str]:
    """What must be mended."""
    return [finding.text for finding in found if finding.level in {Level.PROBLEM, Level.UNREACHABLE}]


def stored(user: User) -> list[Finding]:
    """What doctor says of the store."""
    settings = Settings(
        s3_endpoint=user.server.endpoint, s3_bucket=user.bucket, s3_access_key=user.name, s3_secret_key=SecretStr(user.secret), table="t"
    )
    resources.configure(settings)
    store = resources.store_of(settings, None, pool_size=1)
    try:
        return check_store(settings, store)[0]
    finally:
        store.close()


def test_policy_of_the_page_is_enough(user: User) -> None:
    """For all that doctor tries; what it may not see of the bucket's own settings it says, and that is no problem."""
    user.may(ACTIONS)

    found = stored(user)

    assert bad(found) == []
    assert "nothing foreign is overwritten" in " ".join(finding.text for finding in found)
    assert user.keys() == []


@pytest.mark.parametrize("action", ACTIONS)
def test_missing_action_is_named(action: str, user: User) -> None:
    """And no other. MinIO asks for no right to tag an object that is written with its tags, AWS does."""
    user.may([each for each in ACTIONS if each != action])

    problems = bad(stored(user))

    named = {each for each in ACTIONS for text in problems if re.search(rf"{each}(?=[ ,)])", text)}
    assert named == {action} - {"s3:PutObjectTagging"}, problems
    user.clean()


def checked(roles: Roles, without: str = "") -> list[Finding]:
    """What doctor says of a database with the grants of the page but one."""
    with roles.database(without=without) as urls:
        settings = Settings(database_url=SecretStr(urls["rekey_worker"]), table="client_assets", s3_bucket="assets")
        return check_database(settings)


def test_grants_of_the_page_are_enough(roles: Roles) -> None:
    """For what doctor asks."""
    assert bad(checked(roles)) == []


@pytest.mark.parametrize("grant", [each for each in GRANTS if each.endswith("TO rekey_worker")])
def test_missing_grant_is_named(grant: str, roles: Roles) -> None:
    """The right and what it is on, with the statement that gives it."""
    (found,) = [each for each in checked(roles, without=grant) if each.level in {Level.PROBLEM, Level.UNREACHABLE}]

    right, what = grant.partition("GRANT ")[2].removesuffix(" TO rekey_worker").split(" ON ")
    what = {"TABLES": "rekey_", "SEQUENCES": "SEQUENCE rekey_runs_no_seq"}.get(what, with_name(f"{what} ", roles.last).strip())
    assert ("permission denied for database" if right == "CONNECT" else f"its user lacks {right} on ") in found.text
    assert found.remedy.startswith(f"GRANT {right} ON {what}")
    assert found.remedy.endswith(" TO rekey_worker;")


@pytest.fixture
def typed(minio: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str]]]:
    """``rekey`` with these arguments as a user of the database; gives the exit status and standard error."""

    def type_it(url: str, *args: str) -> tuple[int, str]:
        settings = {"DATABASE_URL": url, "BROKER_URL": "redis://127.0.0.1:1/0", "TABLE": "client_assets", "S3_BUCKET": minio.bucket}
        settings |= {"S3_ENDPOINT": minio.endpoint, "S3_ACCESS_KEY": minio.access_key, "S3_SECRET_KEY": minio.secret_key}
        for name, value in settings.items():
            monkeypatch.setenv(f"REKEY_{name}", value)
        try:
            status, said = main(list(args)), capsys.readouterr().err.splitlines()
            assert "Traceback" not in said
            return status, said[-1] if said else ""  # verify says first what it is at
        finally:
            resources.close()

    yield type_it
    resources._settings = None


@pytest.mark.parametrize("grant", [each for each in GRANTS if each.endswith("TO rekey_owner")])
def test_init_says_what_its_user_lacks(grant: str, roles: Roles, typed: Callable[..., tuple[int, str]]) -> None:
    """In one line."""
    with roles.database(without=grant) as urls:
        status, line = typed(urls["rekey_owner"], "init")

    assert status != DONE
    assert ("permission denied for database" if "CONNECT" in grant else "it needs USAGE and CREATE on the schema") in line


@pytest.mark.parametrize("grant", [each for each in GRANTS if each.endswith("TO rekey_reader") and "SELECT" in each])
def test_reader_is_told_what_it_lacks(grant: str, roles: Roles, typed: Callable[..., tuple[int, str]]) -> None:
    """By a command that looks, in one line."""
    with roles.database(without=grant) as urls:
        status, line = typed(urls["rekey_reader"], "status" if "TABLES" in grant else "verify")

    assert status == ERROR
    assert "permission denied for table" in line
    assert "`rekey doctor` names" in line


def test_reader_can_serve_metrics(roles: Roles, typed: Callable[..., tuple[int, str]]) -> None:
    """The other commands that look are typed as the reader in docs/transcript.md."""
    with roles.database() as urls:
        assert typed(urls["rekey_reader"], "metrics", "--once") == (DONE, "")
