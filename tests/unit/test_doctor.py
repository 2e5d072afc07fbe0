"""What doctor finds in each part, on SQLite and on stores and brokers in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest
import redis
from sqlalchemy import create_engine

from app import resources
from app.cli import doctor as command
from app.cli import starting
from app.cli.doctor import as_lines, as_object, exit_status
from app.database import open_engine
from app.doctor import broker
from app.doctor.broker import check_broker
from app.doctor.database import check_database
from app.doctor.etags import check_etags
from app.doctor.fidelity import check_fidelity
from app.doctor.findings import Finding, Findings, Level
from app.doctor.store import check_capabilities, check_store, new_prefix
from app.errors import DeniedError, MissingKeysError, NoKeysError, ObjectError, StoreRequestError, StoreUnavailableError, UsageError
from app.s3_bucket import Lifecycle
from app.schema import create_ledger
from app.settings import Settings
from app.testing import Fault, FixedDeadline
from app.testing.memory_store import InMemoryStore
from app.testing.versions import CONDITIONAL, LIKE_AWS, LIKE_MINIO, Behaviour

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from app.object_store import Capabilities, Condition, Deadline, ListedPage, ObjectAttributes, ObjectInfo
    from app.s3_bucket import Notice, Replication

GOOD = "CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key VARCHAR(1024)); CREATE INDEX k ON assets (object_key);"


def database(folder: Path, sql: str, **more: object) -> list[Finding]:
    """What doctor finds in a SQLite database made by *sql*, with the ledger in it."""
    path = folder / "app.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)
    engine = open_engine(f"sqlite:///{path}")
    create_ledger(engine)
    engine.dispose()
    return check_database(Settings(database_url=f"sqlite:///{path}", s3_bucket="assets", **({"table": "assets"} | more)))


def bad(found: Sequence[Finding]) -> list[str]:
    """The texts of what must be mended."""
    return [finding.text for finding in found if finding.level in {Level.PROBLEM, Level.UNREACHABLE}]


def test_database_as_it_should_be_has_nothing_to_mend(tmp_path: Path) -> None:
    """A table with a primary key, an index on the key column and room for any key."""
    assert bad(database(tmp_path, GOOD)) == []


def test_database_that_is_not_there_is_unreachable_and_not_made(tmp_path: Path) -> None:
    """A misspelt SQLite file is named, and not created by looking."""
    (found,) = check_database(Settings(database_url=f"sqlite:///{tmp_path}/none.db", table="assets"))

    assert found.level is Level.UNREACHABLE
    assert f"there is no file '{tmp_path}/none.db'" in found.text
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("sql", "more", "text"),
    [
        (GOOD, {"table": "Assets2"}, "REKEY_TABLE: no table 'Assets2'"),
        (GOOD, {"key_column": "path"}, "REKEY_KEY_COLUMN: the table 'assets' has no column 'path'; it has id, client_id, object_key"),
        (GOOD, {"id_column": "id,no"}, "REKEY_ID_COLUMN: the table 'assets' has no column 'no'"),
        (GOOD, {"client_column": "tenant"}, "REKEY_CLIENT_COLUMN: the table 'assets' has no column 'tenant'"),
        (GOOD, {"name_column": "title"}, "REKEY_NAME_COLUMN: the table 'assets' has no column 'title'"),
        (GOOD, {"version_column": "version"}, "REKEY_VERSION_COLUMN: the table 'assets' has no column 'version'"),
        (GOOD, {"template": "{col.folder}/{file_name}"}, "REKEY_TEMPLATE: the table 'assets' has no column 'folder'"),
        (GOOD, {"references": ("thumbs.k",)}, "REKEY_REFERENCES: no table 'thumbs'"),
        (GOOD, {"references": ("assets.nope",)}, "REKEY_REFERENCES: the table 'assets' has no column 'nope'"),
        (
            GOOD.replace("INTEGER, o", "INTEGER, title TEXT, o"),
            {"version_column": "title"},
            "REKEY_VERSION_COLUMN: the column 'assets.title'",
        ),
        (GOOD.replace("VARCHAR(1024)", "BIGINT"), {}, "REKEY_KEY_COLUMN: the column 'assets.object_key' holds no text but BIGINT"),
        (GOOD, {"where": "id ="}, "REKEY_WHERE: the database refuses it"),
        (GOOD, {"where": "no_such_column = 1"}, "REKEY_WHERE: the database refuses it: no such column: no_such_column"),
        (GOOD.replace("1024", "20"), {"where": "id ="}, "REKEY_WHERE: the database refuses it"),
        (GOOD, {"id_column": "client_id"}, "has no primary key or unique index on client_id"),
        (GOOD.replace("(object_key);", "(client_id, object_key);"), {}, "assets.object_key has no index"),
        (GOOD + "CREATE TABLE thumbs (k TEXT);", {"references": ("thumbs.k",)}, "thumbs.k has no index"),
        (GOOD.replace("1024", "20") + "INSERT INTO assets VALUES (1, 7, 'up/abcd.png');", {}, "takes 20 characters; the longest new key"),
    ],
)
def test_database_problem_is_named(sql: str, more: dict[str, object], text: str, tmp_path: Path) -> None:
    """Each thing that would stop or slow a run is found, with a remedy."""
    found = database(tmp_path, sql, **more)

    (problem,) = [finding for finding in found if finding.level is Level.PROBLEM]
    assert text in problem.text
    assert problem.remedy


def test_where_that_the_database_takes_is_no_problem(tmp_path: Path) -> None:
    """Signs that drivers and SQLAlchemy read otherwise stand for themselves."""
    where = "object_key LIKE 'up/%' AND object_key <> ':x' AND id % 2 = 1"

    assert bad(database(tmp_path, GOOD + "INSERT INTO assets VALUES (1, 7, 'up/a.png');", where=where)) == []


def test_missing_index_comes_with_a_statement_that_makes_it(tmp_path: Path) -> None:
    """The remedy can be run as it stands, names of any kind included."""
    sql = 'CREATE TABLE "Client Assets" (id INTEGER PRIMARY KEY, client_id INTEGER, "File Key" VARCHAR(1024));'
    names = {"table": '"Client Assets"', "key_column": "File Key"}
    (problem,) = [finding for finding in database(tmp_path, sql, **names) if finding.level is Level.PROBLEM]
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(problem.remedy)

    settings = Settings(database_url=f"sqlite:///{tmp_path}/app.db", s3_bucket="assets", **names)
    assert bad(check_database(settings)) == []


def test_missing_ledger_is_a_problem(tmp_path: Path) -> None:
    """``rekey init`` has to be run first."""
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(GOOD)

    found = check_database(Settings(database_url=f"sqlite:///{tmp_path}/app.db", table="assets", s3_bucket="assets"))

    assert [finding.remedy for finding in found if finding.level is Level.PROBLEM] == ["rekey init"]


def test_ledger_of_an_older_version_is_named_as_that(tmp_path: Path) -> None:
    """And not by the rights on tables that it has not got."""
    database(tmp_path, GOOD)
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript("DROP TABLE rekey_visits; UPDATE rekey_meta SET value = '4' WHERE name = 'schema_version';")

    found = check_database(Settings(database_url=f"sqlite:///{tmp_path}/app.db", table="assets", s3_bucket="assets"))

    assert [text[:40] for text in bad(found)] == ["the ledger's tables are of version 4, th"]


def test_database_check_changes_no_row(tmp_path: Path) -> None:
    """The right to update is asked for without an update: not even a trigger fires."""
    sql = GOOD + "INSERT INTO assets VALUES (1, 7, 'up/a.png'); CREATE TABLE fired (n INTEGER);"
    sql += "CREATE TRIGGER t AFTER UPDATE ON assets BEGIN INSERT INTO fired VALUES (1); END;"

    assert bad(database(tmp_path, sql)) == []
    engine = create_engine(f"sqlite:///{tmp_path}/app.db")
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM assets").all()
        fired = connection.exec_driver_sql("SELECT * FROM fired").all()
    engine.dispose()
    assert ([tuple(row) for row in rows], list(fired)) == ([(1, 7, "up/a.png")], [])


class Redis:
    """As much of a Redis as doctor asks."""

    def __init__(self, error: Exception | None = None, **info: object) -> None:
        self._error = error
        self._info = {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "aof_enabled": 1} | info
        self.keys: dict[str, str] = {}
        self.touched: list[str] = []

    def info(self) -> dict[str, object]:
        """INFO."""
        if isinstance(self._error, redis.ConnectionError):
            raise self._error
        return self._info

    def set(self, key: str, value: str, *, ex: int) -> None:
        """SET with an expiry."""
        assert ex > 0
        if self._error:
            raise self._error
        self.keys[key] = value
        self.touched.append(key)

    def delete(self, key: str) -> None:
        """DEL."""
        del self.keys[key]

    def close(self) -> None:
        """Nothing to close."""


def check_redis(monkeypatch: pytest.MonkeyPatch, server: Redis) -> list[Finding]:
    """What doctor finds about *server*."""
    monkeypatch.setattr(broker, "connect", lambda _url: server)
    return check_broker(Settings(broker_url="redis://host/0"))


def test_broker_as_it_should_be_has_nothing_to_mend_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a throw-away key under the deployment's prefix is written, and it is removed."""
    server = Redis()

    assert bad(check_redis(monkeypatch, server)) == []
    assert server.keys == {}
    assert [key.startswith("rekey:doctor-") for key in server.touched] == [True]


@pytest.mark.parametrize(
    ("server", "level", "text"),
    [
        (Redis(redis_version="6.0.16"), Level.PROBLEM, "Redis 6.0.16 is too old"),
        (Redis(redis_version="7.2.4", valkey_version="9.1.0"), Level.OK, "Valkey 9.1.0 answers"),
        (Redis(maxmemory_policy="allkeys-lru"), Level.PROBLEM, "maxmemory-policy is allkeys-lru"),
        (Redis(aof_enabled=0), Level.NOTE, "do not survive its restart"),
        (Redis(redis.ReadOnlyError("READONLY")), Level.PROBLEM, "it is a replica"),
        (Redis(redis.OutOfMemoryError("OOM")), Level.PROBLEM, "its memory is full"),
        (Redis(redis.exceptions.NoPermissionError("no SET")), Level.PROBLEM, "the login lacks a right: no SET"),
        (Redis(redis.AuthenticationError("WRONGPASS")), Level.UNREACHABLE, "it refuses the login: WRONGPASS"),
        (Redis(redis.ConnectionError("refused")), Level.UNREACHABLE, "it does not answer: refused"),
    ],
)
def test_broker_finding_is_named(server: Redis, level: Level, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each state of a broker that matters to a run."""
    found = check_redis(monkeypatch, server)

    assert [finding.level for finding in found if text in finding.text] == [level]


class Store(InMemoryStore):
    """A store in memory that can refuse rights, and has a lifecycle."""

    def __init__(self, behaviour: Behaviour = CONDITIONAL, *, denied: Sequence[str] = (), error: Exception | None = None) -> None:
        super().__init__(behaviour)
        self.denied = denied
        self.error = error
        self.expiring: list[str] = []
        self.there = True

    def bucket_exists(self) -> bool:
        """HEAD of the bucket."""
        if self.error:
            raise self.error
        return self.there

    def notices(self) -> list[Notice]:
        """Nobody is told of anything."""
        return []

    def lifecycle(self) -> list[Lifecycle]:
        """What grows old, as a test says."""
        return [
            Lifecycle(prefix=prefix, acts=("removes objects after 30 days", "removes old versions after 1 days"), some=False)
            for prefix in self.expiring
        ]

    def replication(self) -> list[Replication]:
        """Nothing is copied elsewhere."""
        return []

    def quota(self) -> int | None:
        """No bound."""
        return None

    def _allow(self, right: str, key: str) -> None:
        if right in self.denied:
            raise DeniedError(key, "AccessDenied")

    def put(self, key: str, body: bytes, attributes: ObjectAttributes, *, condition: Condition | None, deadline: Deadline) -> ObjectInfo:
        """PUT, if allowed."""
        self._allow("s3:PutObject", key)
        if attributes.tag_count:
            self._allow("s3:PutObjectTagging", key)
        return super().put(key, body, attributes, condition=condition, deadline=deadline)

    def tags(self, key: str) -> str:
        """GET of the tags, if allowed."""
        self._allow("s3:GetObjectTagging", key)
        return super().tags(key)

    def list_page(self, *, prefix: str, start_after: str, delimiter: str = "/", limit: int = 1000) -> ListedPage:
        """A listing, if allowed."""
        self._allow("s3:ListBucket", prefix)
        return super().list_page(prefix=prefix, start_after=start_after, delimiter=delimiter, limit=limit)

    def delete(
        self, objects: Sequence[ObjectInfo], *, deadline: Deadline, still: Callable[[], bool] = lambda: True
    ) -> Mapping[str, ObjectError | None]:
        """DeleteObjects; its refusals stand in the answer."""
        if "s3:DeleteObject" in self.denied:
            return {info.key: DeniedError(info.key) for info in objects}
        return super().delete(objects, deadline=deadline, still=still)


def keys_of(store: InMemoryStore) -> list[str]:
    """All keys that the store holds."""
    return [info.key for info in store.list_page(prefix="", start_after="", delimiter="").objects]


SETTINGS = Settings(s3_bucket="assets")


@pytest.mark.parametrize("behaviour", [CONDITIONAL, LIKE_MINIO])
def test_store_as_it_should_be_has_nothing_to_mend_and_is_left_as_it_was(behaviour: Behaviour) -> None:
    """All throw-away objects are gone, and what the endpoint honours is known."""
    store = Store(behaviour)

    found, capabilities = check_store(SETTINGS, store)

    assert bad(found) == []
    assert capabilities is not None
    assert capabilities.copy_if_absent is (behaviour is CONDITIONAL)
    assert keys_of(store) == []


@pytest.mark.parametrize(
    ("denied", "text"),
    [
        (["s3:PutObject"], "it refuses a PUT (s3:PutObject) below 'clients/.rekey/': AccessDenied"),
        (["s3:PutObjectTagging"], "the credentials lack s3:PutObjectTagging below 'clients/.rekey/'"),
        (["s3:GetObjectTagging", "s3:ListBucket"], "the credentials lack s3:GetObjectTagging, s3:ListBucket below 'clients/.rekey/'"),
        (
            ["s3:DeleteObject"],
            "the credentials lack s3:DeleteObject below 'clients/.rekey/'; the throw-away object 'clients/.rekey/doctor-",
        ),
    ],
)
def test_store_names_the_lacking_right(denied: list[str], text: str) -> None:
    """The rights that a policy lacks are named as its author knows them (case 15)."""
    found, capabilities = check_store(SETTINGS, Store(denied=denied))

    assert [finding for finding in bad(found) if finding.startswith(text)]
    assert capabilities is None


def test_store_without_the_bucket_or_answer_is_named() -> None:
    """A missing bucket can be mended here; a silent endpoint cannot be looked at."""
    store = Store()
    store.there = False

    assert bad(check_store(SETTINGS, store)[0]) == ["there is no bucket 'assets'"]
    (silent,) = check_store(SETTINGS, Store(error=StoreUnavailableError("no route")))[0]
    assert (silent.level, silent.text) == (Level.UNREACHABLE, "it does not answer: no route")


@pytest.mark.parametrize(
    ("error", "level"), [(MissingKeysError("no keys in f"), Level.PROBLEM), (NoKeysError("no role"), Level.UNREACHABLE)]
)
def test_lack_of_keys_is_no_silence_of_the_store(error: NoKeysError, level: Level) -> None:
    """It was not asked: its address need not be corrected."""
    (found,) = check_store(SETTINGS, Store(error=error))[0]

    assert (found.level, found.text) == (level, str(error))
    assert found.remedy
    assert "REKEY_S3_ENDPOINT" not in found.remedy


@pytest.mark.parametrize(("rule", "problem"), [("", True), ("clients/7/", True), ("cli", True), ("uploads/", False)])
def test_lifecycle_rule_over_new_keys_is_a_problem(rule: str, problem: bool) -> None:  # noqa: FBT001 - an expectation
    """A rule that would remove new objects is found whether it lies above or below their prefix (H22), and told once."""
    store = Store()
    store.expiring = [rule]

    found, _ = check_store(SETTINGS, store)

    assert len(bad(found)) == problem
    assert len([finding for finding in found if "removes objects" in finding.text]) == 1


def test_store_that_carries_out_late_requests_is_a_problem() -> None:
    """No run is started on it."""
    late = Store(dataclasses.replace(CONDITIONAL, query_signed_expiry=False))

    assert bad(check_store(SETTINGS, late)[0]) == [
        "it carries out requests after their signature has expired: a late one could undo newer writes"
    ]


def test_template_that_the_store_spells_otherwise_is_a_problem_where_it_tells_two_buckets_apart() -> None:
    """As a run's start says; with one bucket it is none."""
    folding = dataclasses.replace(CONDITIONAL, folds_case=True)
    settings = SETTINGS.model_copy(update={"template": "Clients/{client_id}/{file_name}"})
    both = settings.model_copy(update={"target_bucket": "moved"})
    found = Findings("object store")
    check_capabilities(both, folding.capabilities(), found)

    assert bad(check_store(settings, Store(folding))[0]) == []
    assert bad(found) == ["REKEY_TEMPLATE: the store takes 'Clients/' and 'clients/' for one: write the latter"]


def test_store_without_conditions_is_a_problem_unless_the_operator_says_so() -> None:
    """Plain CopyObject is the operator's decision (S3)."""
    behaviour = dataclasses.replace(CONDITIONAL, **dict.fromkeys([name for name in fields_of(CONDITIONAL) if "absent" in name], False))

    assert bad(check_store(SETTINGS, Store(behaviour))[0]) == [
        "it does not honour PUT If-None-Match, If-None-Match on CompleteMultipartUpload: a copy could overwrite a foreign object"
    ]
    assert bad(check_store(Settings(s3_bucket="assets", copy_mode="server"), Store(behaviour))[0]) == []


@pytest.mark.parametrize(("copy_mode", "said"), [("server", True), ("auto", False)])
def test_small_objects_that_go_together_are_said(copy_mode: str, said: bool) -> None:  # noqa: FBT001 - a parameter
    """They are read by the worker, though the store is to copy."""
    found = Findings("object store")
    check_capabilities(Settings(s3_bucket="assets", copy_mode=copy_mode), LIKE_MINIO.capabilities(), found)

    assert any("16384 bytes are read and written 50 in a request" in finding.text for finding in found) is said


@pytest.mark.parametrize(("condition", "rollback"), [("put_if_absent", False), ("complete_if_match", False), ("copy_if_absent", True)])
def test_run_that_could_not_be_taken_back_is_said_beforehand(condition: str, rollback: bool) -> None:  # noqa: FBT001 - a parameter
    """The operator's word for new keys is not heard for old ones: where a rollback would be refused, and nowhere else."""
    seen = dataclasses.replace(CONDITIONAL.capabilities(), **{condition: False})
    settings = Settings(s3_bucket="assets", copy_mode="server")
    found = Findings("object store")
    check_capabilities(settings, seen, found)
    notes = [one.text for one in found if one.level is Level.NOTE and "no run can be taken back" in one.text]

    if rollback:
        starting.refuse_unsafe(settings.model_copy(update={"copy_mode": "auto"}), seen)
        assert notes == []
        return
    with pytest.raises(UsageError, match="does not honour"):
        starting.refuse_unsafe(settings.model_copy(update={"copy_mode": "auto"}), seen)
    (note,) = notes
    assert f"it does not honour {seen.ignored_conditions[0]}" in note


@pytest.mark.parametrize(("condition", "words"), [("put_if_absent", "PUT If-None-Match"), ("put_if_match", "PUT If-Match")])
def test_store_whose_copyobject_alone_can_be_refused_is_a_problem(condition: str, words: str) -> None:
    """Not every copy goes by CopyObject; what the doctor finds fine, a run starts on."""
    found = check_store(SETTINGS, Store(dataclasses.replace(CONDITIONAL, **{condition: False})))[0]

    assert bad(found) == [f"it does not honour {words}: a copy could overwrite a foreign object"]


def fields_of(behaviour: Behaviour) -> list[str]:
    """The names of what a store can do."""
    return [field.name for field in dataclasses.fields(behaviour)]


@pytest.mark.parametrize(
    ("template", "prefix"), [("clients/{client_id}/x", "clients/"), ("a/b-{client_id}/x", "a/"), ("{client_id}/x", ""), ("c{key}", "")]
)
def test_new_prefix_is_the_folder_of_all_new_keys(template: str, prefix: str) -> None:
    """Whole folders only: a part of a name is no place for throw-away objects."""
    assert new_prefix(template) == prefix


def finding(level: Level) -> Finding:
    """A finding of this level."""
    return Finding(part="broker", level=level, text="text", remedy="remedy")


@pytest.mark.parametrize(
    ("levels", "status"),
    [([], 0), ([Level.OK, Level.NOTE], 0), ([Level.OK, Level.PROBLEM], 3), ([Level.PROBLEM, Level.UNREACHABLE], 1)],
)
def test_exit_status_says_how_bad_it_is(levels: list[Level], status: int) -> None:
    """0 fine, 3 findings, 1 when a part cannot be reached."""
    assert exit_status([finding(level) for level in levels]) == status


def test_findings_are_shown_for_people_and_programs() -> None:
    """Problems stand out with their remedy below; JSON counts them."""
    found = [finding(Level.PROBLEM), Finding(part="database", level=Level.OK, text="fine")]

    assert as_lines(found) == ["broker       PROBLEM      text", f"{'':<26}-> remedy", "database     ok           fine"]
    shown: dict[str, Any] = json.loads(json.dumps(as_object(found, None)))
    assert (shown["problems"], shown["capabilities"]) == (1, None)
    assert shown["findings"][1] == {"part": "database", "level": "ok", "text": "fine", "remedy": ""}


def _etags(behaviour: Behaviour, **settings: Any) -> list[str]:  # noqa: ANN401 - any setting
    store = Store(behaviour)
    found, _ = check_store(Settings(s3_bucket="assets", **settings), store)
    assert (keys_of(store), store.unfinished_uploads()) == ([], [])
    return [one.text.split(" (parts:")[0] for one in found if "ETag" in one.text]


def test_which_copies_get_another_etag_is_tried() -> None:
    """On the ways of a run alone; that no rule covers it is said."""
    whole, parts = "written whole: by parts", "uploaded in parts"

    assert _etags(CONDITIONAL) == [f"copies get another ETag, of objects {whole}; {parts}: by CopyObject"]
    assert _etags(LIKE_MINIO) == [f"copies get another ETag, of objects {whole}; {parts}: by GET and PUT"]
    assert _etags(LIKE_MINIO, copy_mode="server") == [f"copies get another ETag, of objects {whole}; {parts}: by CopyObject"]
    assert _etags(LIKE_AWS) == [f"copies get another ETag, of objects {whole}; {parts}: by CopyObject; encrypted (SSE-S3): by parts"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [("keep", "(rule keep) on some way"), ("warn", "(rule warn) on some way"), ("ignore", "(rule ignore) on some way, and")],
)
def test_what_may_be_lost_is_said_with_what_comes_of_that(rule: str, said: str) -> None:
    """Once, under its rule: MinIO's CopyObject drops Expires."""
    found = Findings("object store")
    settings = Settings(s3_bucket="assets", copy_mode="server", fidelity=f"expires={rule}")
    check_fidelity(settings, LIKE_MINIO.capabilities(), found)

    assert [said in one.text for one in found if "expires" in one.text] == [True]


def test_etags_that_cannot_be_tried_are_said_not_to_be_known() -> None:
    """Doctor goes on, and leaves nothing."""
    store = InMemoryStore(CONDITIONAL)
    for method in ("put_part", "copy_part"):
        store.faults.add(Fault.refuse(StoreRequestError), on=method)
        found = Findings("object store")
        check_etags(Settings(), store, store.capabilities, found, lease=FixedDeadline())

        assert ["could not be tried" in one.text for one in found] == [True]
        assert (store.contents(), store.unfinished_uploads()) == ({}, [])


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Capabilities:
    """What a store honours that was tried, and no broker."""
    found = CONDITIONAL.capabilities()
    monkeypatch.setattr(resources, "_settings", None)
    monkeypatch.setattr(command, "check_store", lambda *_: ([], found))
    monkeypatch.setattr(command, "check_broker", lambda *_: [])
    return found


def _settings_with(path: Path) -> Settings:
    store = {"s3_endpoint": "http://127.0.0.1:1", "s3_access_key": "k", "s3_secret_key": "secret", "broker_url": "redis://127.0.0.1:1/0"}
    return Settings(database_url=f"sqlite:///{path}", table="assets", s3_bucket="assets", **store)


def test_what_the_store_honours_is_kept_for_plans_but_no_run_starts_on_it(tmp_path: Path, tried: Capabilities) -> None:
    """A run probes by itself, and looks whether new keys can be read besides."""
    settings = _settings_with(tmp_path / "app.db")
    engine = open_engine(settings.database_url.get_secret_value(), may_create=True)
    create_ledger(engine)
    engine.dispose()

    assert command.examine(settings)[1] == tried
    assert starting.known_capabilities(settings) == tried
    assert starting.known_capabilities(settings, since=resources.runs().now() - 24 * 3600 * 10**6) is None
    resources.close()


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize(
    ("name", "level", "words"),
    [
        ("my_own_hook:purge", Level.OK, "is there"),
        ("my_own_hook:prune", Level.PROBLEM, "has no attribute 'prune': no asset would be shown to it"),
        ("my_own_hook:COUNT", Level.PROBLEM, "is no function"),
        ("nope:nope", Level.PROBLEM, "cannot be imported: ModuleNotFoundError: No module named 'nope'"),
    ],
)
def test_function_after_the_switch_is_imported_as_its_workers_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, level: Level, words: str
) -> None:
    """From the current folder too, where `python -m workers` finds it; what lies there is in the way of nothing afterwards."""
    (tmp_path / "my_own_hook.py").write_text("COUNT = 3\n\ndef purge(assets):\n    raise AssertionError\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    found, _ = command.examine(_settings_with(tmp_path / "none.db").model_copy(update={"after_switch": name}))
    sys.modules.pop("my_own_hook", None)

    (own,) = [one for one in found if one.part == "own stage"]
    assert own.level is level
    assert f"REKEY_AFTER_SWITCH={name} " in own.text
    assert words in own.text
    assert sys.path == before


def test_doctor_makes_no_database_where_none_is(tmp_path: Path, tried: Capabilities) -> None:
    """A mistyped path is found, and not filled with an empty file."""
    found, capabilities = command.examine(_settings_with(tmp_path / "none.db"))
    resources.close()

    assert ["there is no file" in finding.text for finding in found] == [True]
    assert capabilities == tried
    assert list(tmp_path.iterdir()) == []
