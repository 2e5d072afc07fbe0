"""The least rights that docs/operations.md states, given to users of real servers: what is copied from the page is what is tested."""

from __future__ import annotations

import json
import re
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.deleteobjects import DeleteObject
from minio.minioadmin import MinioAdmin
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app.database import open_engine
from app.schema import create_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.servers import S3Server, SqlServer

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operations.md"
BUCKET = "client-assets"


def _block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found, f"{PAGE} has no {language}"
    return str(found[0])


POLICY: dict[str, Any] = json.loads(_block("json"))
ACTIONS: list[str] = [action for statement in POLICY["Statement"] for action in statement["Action"]]


def _split(statement: str) -> Iterator[str]:
    """One statement for each right that *statement* grants."""
    head, grant, rest = statement.partition("GRANT ")
    if not grant:
        yield statement
        return
    rights, _, what = rest.partition(" ON ")
    for right in re.split(r", (?![^(]*\))", rights):
        yield f"{head}GRANT {right} ON {what}"


STATEMENTS = [" ".join(each.split()) for each in _block("sql").split(";") if each.strip()]
GRANTS = [each for statement in STATEMENTS for each in _split(statement)]
BROKER_RIGHTS = re.findall(r"^ +ACL SETUSER rekey reset on >\.\.\. (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[
    0
]  # below rekey:
ROLES = re.findall(r"CREATE ROLE (\w+)", "\n".join(STATEMENTS))


def with_name(statement: str, database: str) -> str:
    """*statement* for a database of another name."""
    return statement.replace("DATABASE app ", f"DATABASE {database} ")


class User:
    """A user of MinIO with a policy of its own."""

    def __init__(self, server: S3Server, bucket: str, *, make: bool = True) -> None:
        self.server = server
        self.bucket = bucket
        self.name, self.secret = f"user-{secrets.token_hex(4)}", secrets.token_hex(16)
        where = server.endpoint.partition("//")[2]
        self._admin = MinioAdmin(endpoint=where, credentials=StaticProvider(server.access_key, server.secret_key), secure=False)
        self._client = Minio(where, server.access_key, server.secret_key, secure=False, region="us-east-1")
        self._admin.user_add(self.name, self.secret)
        if make:
            self._client.make_bucket(bucket)

    def may(self, actions: Sequence[str]) -> None:
        """Give it the page's policy, with these of its actions."""
        policy = json.loads(json.dumps(POLICY).replace(BUCKET, self.bucket))
        statements = [each | {"Action": [action for action in each["Action"] if action in actions]} for each in policy["Statement"]]
        self._admin.policy_add(self.name, policy=policy | {"Statement": [each for each in statements if each["Action"]]})
        self._admin.policy_set(self.name, user=self.name)

    def keys(self) -> list[str]:
        """What lies in the bucket."""
        return [str(each.object_name) for each in self._client.list_objects(self.bucket, recursive=True)]

    def clean(self) -> None:
        """Empty the bucket."""
        list(self._client.remove_objects(self.bucket, [DeleteObject(key) for key in self.keys()]))

    def close(self) -> None:
        """Close the connections."""
        self._client._http.clear()
        self._admin._http.clear()


class Roles:
    """The page's users of PostgreSQL, and databases in which they have its grants."""

    def __init__(self, server: SqlServer) -> None:
        self._server = server
        self._password = secrets.token_hex(8)
        self.last = ""  # the name of the newest database
        for statement in STATEMENTS:
            if statement.startswith("CREATE ROLE"):
                self._run(server.url, statement.replace("...", self._password))

    @contextmanager
    def database(self, *, without: str = "") -> Iterator[dict[str, str]]:
        """A database with assets table and ledger, and the grants but one; gives its URL by user, the owner of all as ``owner``."""
        url = self._server.make_database()
        self.last = str(make_url(url).database)
        try:
            self.fill(url, without=without)
            yield self.urls(url)
        finally:
            self._server.drop_database(url)

    def urls(self, url: str) -> dict[str, str]:
        """How each user connects to the database of *url*."""
        at = make_url(url)
        by_role = {role: at.set(username=role, password=self._password).render_as_string(hide_password=False) for role in ROLES}
        return {"owner": url, **by_role}

    def fill(self, url: str, *, without: str = "") -> None:
        """Make the table, give the grants, make the ledger as its owner."""
        name = str(make_url(url).database)
        table = "CREATE TABLE IF NOT EXISTS client_assets (id BIGINT PRIMARY KEY, client_id BIGINT, object_key TEXT, title TEXT)"
        nothing = (f"REVOKE ALL ON DATABASE {name} FROM PUBLIC", "REVOKE ALL ON SCHEMA public FROM PUBLIC")
        index = "CREATE INDEX IF NOT EXISTS client_assets_key ON client_assets (object_key)"
        granted = [with_name(each, name) for each in GRANTS if not each.startswith("CREATE ROLE") and each != without]
        self._run(url, table, index, *nothing, *granted)
        if not without.endswith("rekey_owner"):
            owner = open_engine(self.urls(url)["rekey_owner"], pool_size=1)
            create_ledger(owner)
            owner.dispose()

    def close(self) -> None:
        """Remove the users."""
        self._run(self._server.url, *(f"DROP ROLE {role}" for role in ROLES))

    def _run(self, url: str, *statements: str) -> None:
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
