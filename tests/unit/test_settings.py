"""Settings: where they come from, what is refused and how, and that no secret shows."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.errors import UsageError
from app.settings import Settings, declared, load
from app.settings_page import settings_page
from app.settings_table import REQUIRED

ROOT = Path(__file__).parents[2]
GIVEN = {
    "REKEY_DATABASE_URL": "postgresql://app:db-pass@db/app",
    "REKEY_BROKER_URL": "redis://:broker-pass@broker:6379/0",
    "REKEY_S3_ENDPOINT": "https://s3.example.com",
    "REKEY_S3_ACCESS_KEY": "access-key",
    "REKEY_S3_SECRET_KEY": "secret-key",
    "REKEY_S3_BUCKET": "assets",
    "REKEY_TABLE": "assets",
}


def read(folder: Path, flags: dict[str, object] | None = None, *, config: str | None = None, **environ: str) -> Settings:
    """Settings from a complete environment and what is given besides; names without the prefix."""
    more = {f"REKEY_{name}": value for name, value in environ.items()}
    return load(flags or {}, environ=GIVEN | more, folder=folder, config=config)


def refusal(folder: Path, flags: dict[str, object] | None = None, *, config: str | None = None, **environ: str) -> str:
    """The one line that refuses these settings."""
    with pytest.raises(UsageError) as caught:
        read(folder, flags, config=config, **environ)
    line = str(caught.value)
    assert "\n" not in line
    assert [secret for secret in ("db-pass", "broker-pass", "access-key", "secret-key", "s3cret") if secret in line] == []
    return line


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    """What is not set has the documented value."""
    found = read(tmp_path)

    expected = {
        "s3_region": "us-east-1",
        "id_columns": ("id",),
        "client_column": "client_id",
        "key_column": "object_key",
        "name_column": None,
        "template": "clients/{client_id}/assets/{file_name}",
        "grace_seconds": 3600,
        "lease_seconds": 30,
        "visibility_timeout_seconds": 60,
        "reconcile_seconds": 5,
        "request_timeout_seconds": 10,
        "look_seconds": 5,
        "settle_seconds": 60,
        "hint_seconds": 60,
        "copy_mode": "auto",
        "inline_bytes": 8_388_608,
        "batch_size": 200,
        "copy_concurrency": 100,
        "rename_concurrency": 10,
        "delete_concurrency": 100,
        "seed_concurrency": 1,
        "max_in_flight": 20_000,
        "queue_prefix": "rekey:",
    }
    assert {name: getattr(found, name) for name in expected} == expected


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    """Each place covers the one below, setting by setting."""
    (tmp_path / "rekey.toml").write_text("batch_size = 1\nlook_seconds = 11\nhint_seconds = 12\n")

    found = read(tmp_path, {"batch_size": 3, "hint_seconds": None}, BATCH_SIZE="2", LOOK_SECONDS="22")

    assert (found.batch_size, found.look_seconds, found.hint_seconds, found.settle_seconds) == (3, 22, 12, 60)


def test_file_takes_everything_from_toml(tmp_path: Path) -> None:
    """A file alone is enough: lists, numbers, secrets and their twins, with names relative to the file."""
    (tmp_path / "secret").write_text("from-a-file\n")
    lines = [f'{name.removeprefix("REKEY_").lower()} = "{value}"' for name, value in GIVEN.items() if "SECRET" not in name]
    lines += ['s3_secret_key_file = "secret"', 'references = ["thumbs.key", "s.t.c"]', 'id_column = ["tenant", "no"]', 'copy = "server"']
    (tmp_path / "my.toml").write_text("\n".join(lines))

    found = load(environ={"REKEY_CONFIG": "my.toml"}, folder=tmp_path)

    assert found.s3_secret_key.get_secret_value() == "from-a-file"
    assert (found.references, found.id_columns, found.copy_mode) == (("thumbs.key", "s.t.c"), ("tenant", "no"), "server")


def test_config_flag_wins_over_the_variable(tmp_path: Path) -> None:
    """--config names the file, whatever REKEY_CONFIG says."""
    (tmp_path / "a.toml").write_text("batch_size = 1")
    (tmp_path / "b.toml").write_text("batch_size = 2")

    assert read(tmp_path, config="b.toml", CONFIG="a.toml").batch_size == 2


def test_secret_comes_from_the_file_that_its_twin_names(tmp_path: Path) -> None:
    """The end of the line is no part of the secret; anything else is."""
    (tmp_path / "url").write_text("redis://:s3cret @broker/1\r\n")
    environ = {name: value for name, value in GIVEN.items() if name != "REKEY_BROKER_URL"} | {"REKEY_BROKER_URL_FILE": "url"}

    found = load(environ=environ, folder=tmp_path)

    assert found.broker_url.get_secret_value() == "redis://:s3cret @broker/1"


def test_empty_variable_counts_as_not_set_and_empty_flag_takes_back(tmp_path: Path) -> None:
    """Compose passes on unset variables as empty ones; a flag says what it says."""
    assert read(tmp_path, WHERE="", BATCH_SIZE="").where is None
    assert read(tmp_path, {"where": ""}, WHERE="id > 7").where is None
    assert read(tmp_path, {"where": None}, WHERE="id > 7").where == "id > 7"


def test_missing_settings_are_all_named_in_one_line(tmp_path: Path) -> None:
    """One start tells all that is missing."""
    with pytest.raises(UsageError) as caught:
        load(environ={"REKEY_S3_BUCKET": "assets"}, folder=tmp_path)

    names = [f"REKEY_{name.upper()}" for name in REQUIRED if name != "s3_bucket"]
    assert str(caught.value) == f"not set: {', '.join(names)}; set them in the environment or in small letters in rekey.toml"


def test_only_what_a_command_needs_is_required(tmp_path: Path) -> None:
    """``rekey init`` needs the database alone."""
    found = load(environ={"REKEY_DATABASE_URL": "sqlite:///a.db"}, folder=tmp_path, required=("database_url",))

    assert found.s3_bucket == ""


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BATCH_SIZE", "0", "REKEY_BATCH_SIZE: '0' cannot be right: give a whole number from 1 to 1000"),
        ("BATCH_SIZE", "many", "REKEY_BATCH_SIZE: 'many' cannot be right: give a whole number from 1 to 1000"),
        ("GRACE_SECONDS", "-1", "REKEY_GRACE_SECONDS: '-1' cannot be right: give a whole number from 0 to 7776000"),
        ("GRACE_SECONDS", "1.5", "give a whole number"),
        ("COPY", "fast", "REKEY_COPY: 'fast' cannot be right: give auto or server"),
        ("LOG_FORMAT", "xml", "give text or json"),
        ("RECONCILE_SECONDS", "0.1", "REKEY_RECONCILE_SECONDS: '0.1' cannot be right: give a number from 0.2 to 300"),
        ("RECONCILE_SECONDS", "nan", "REKEY_RECONCILE_SECONDS: 'nan' cannot be right: give a number from 0.2 to 300"),
        ("TEMPLATE", "clients/{client}", "REKEY_TEMPLATE: 'clients/{client}' cannot be right: the template has no field {client}"),
        ("S3_ENDPOINT", "localhost:9000", "give scheme and host"),
        ("S3_ENDPOINT", "ftp://host", "give scheme and host"),
        ("S3_ENDPOINT", "http://host:9000/bucket", "leave out what follows the host"),
        ("S3_ENDPOINT", "http://user:s3cret@host", "leave user and password out of it"),
        ("S3_ENDPOINT", "http://host:port", "cannot be read as a URL"),
        ("S3_BUCKET", "My_Bucket", "3 to 63 lower-case letters"),
        ("S3_CA_FILE", "/nowhere/ca.pem", "REKEY_S3_CA_FILE: '/nowhere/ca.pem' cannot be right: there is no such file"),
        ("TABLE", "a.", "give table or schema.table"),
        ("TABLE", 'a."b', "give table or schema.table"),
        ("REFERENCES", "thumbs.key, other", "give table.column"),
        ("ID_COLUMN", "id,,no", "give the columns' names"),
        ("ID_COLUMN", "id,id", "name each column once"),
        ("ID_COLUMN", "object_key", "REKEY_ID_COLUMN holds 'object_key', which is REKEY_KEY_COLUMN"),
        ("QUEUE_PREFIX", "a b", "keeps two deployments on one broker apart"),
        (
            "DATABASE_URL",
            "oracle://u:s3cret@h/x",
            "REKEY_DATABASE_URL: its value cannot be right: give a URL that starts with postgresql://",
        ),
        ("DATABASE_URL", "postgresql+psycopg2://u:s3cret@h/x", "give a URL that starts with postgresql://"),
        ("DATABASE_URL", "postgresql://u:s3cret@h", "name the database at the end"),
        ("DATABASE_URL", "postgresql://u:s3cret/x@h/x", "write / ? # @ : in user and password as %2F"),
        ("DATABASE_URL", "sqlite://", "several processes cannot share a database in memory"),
        ("DATABASE_URL", "sqlite://app.db", "three slashes"),
        ("S3_ENDPOINT", "http://bad host:9000", "give scheme and host"),
        ("DATABASE_URL", "sqlite:///:memory:", "several processes cannot share a database in memory"),
        ("BROKER_URL", "memory://", "does not reach workers in other processes"),
        ("BROKER_URL", "amqp://u:s3cret@h", "give the URL of a Redis or Valkey"),
        ("BROKER_URL", "redis://", "name the host"),
        ("BROKER_URL", "redis://h/queue", "end it with the number of the database"),
        ("BROKER_URL", "rediss://h/0?ssl_cert_reqs=CERT_NONE", "certificate must be verified"),
        ("BROKER_URL", "rediss://h/0?ssl_check_hostname=false", "certificate must be verified"),
        ("BROKER_URL", "rediss://h/0?ssl_ca_cert=/ca.pem", "there is no parameter 'ssl_ca_cert'; there are ssl_ca_certs"),
        ("BROKER_URL", "redis://h/0?ssl_ca_certs=/ca.pem", "ssl_ca_certs goes with rediss://"),
        ("BROKER_URL", "rediss://h/0?ssl_ca_certs=/nowhere/ca.pem", "ssl_ca_certs: there is no such file: /nowhere/ca.pem"),
        ("BROKER_URL", "redis://h/0?db=1", "there is no parameter 'db' here"),
    ],
)
def test_value_that_cannot_be_right_is_refused_by_name(name: str, value: str, message: str, tmp_path: Path) -> None:
    """What, where, and how to mend it, in one line and without the secret."""
    assert message in refusal(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"REQUEST_TIMEOUT_SECONDS": "30"},
            "REKEY_REQUEST_TIMEOUT_SECONDS (30) must be below REKEY_LEASE_SECONDS (30): a request must end",
        ),
        ({"LEASE_SECONDS": "60"}, "REKEY_LEASE_SECONDS (60) must be below REKEY_VISIBILITY_TIMEOUT_SECONDS (60): a message must not"),
        ({"LOOK_SECONDS": "4"}, "REKEY_RECONCILE_SECONDS (5) must be at most REKEY_LOOK_SECONDS (4)"),
        (
            {"LOOK_SECONDS": "4", "RECONCILE_SECONDS": "4.5"},
            "REKEY_RECONCILE_SECONDS (4.5) must be at most REKEY_LOOK_SECONDS (4)",
        ),
    ],
)
def test_unsafe_order_is_refused(environ: dict[str, str], message: str, tmp_path: Path) -> None:
    """The orders that safety rests on are kept, whoever makes the settings."""
    assert message in refusal(tmp_path, **environ)
    with pytest.raises(ValidationError):
        Settings(**{name.lower(): float(value) for name, value in environ.items()})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"VERSION_COLUMN": "client_id"}, "REKEY_VERSION_COLUMN is 'client_id', which is REKEY_CLIENT_COLUMN too: each switch adds"),
        ({"VERSION_COLUMN": "object_key"}, "REKEY_VERSION_COLUMN is 'object_key', which is REKEY_KEY_COLUMN too"),
        ({"VERSION_COLUMN": "title", "NAME_COLUMN": "title"}, "REKEY_VERSION_COLUMN is 'title', which is REKEY_NAME_COLUMN too"),
        ({"VERSION_COLUMN": "no", "ID_COLUMN": "tenant,no"}, "REKEY_VERSION_COLUMN is 'no', which is in REKEY_ID_COLUMN too"),
        (
            {"VERSION_COLUMN": "no", "TEMPLATE": "c/{col.no}/{file_name}"},
            "REKEY_VERSION_COLUMN is 'no', which is in REKEY_TEMPLATE too: each switch adds one to it; name the column of",
        ),
        ({"CLIENT_COLUMN": "object_key"}, "REKEY_CLIENT_COLUMN is 'object_key', which is REKEY_KEY_COLUMN: a row's client must stay"),
        ({"NAME_COLUMN": "object_key"}, "REKEY_NAME_COLUMN is 'object_key', which is REKEY_KEY_COLUMN: leave it out"),
        ({"TEMPLATE": "c/{col.object_key}"}, "REKEY_TEMPLATE has {col.object_key}, which is REKEY_KEY_COLUMN: write {key} for the old key"),
    ],
)
def test_column_that_a_switch_writes_has_no_second_role(environ: dict[str, str], message: str, tmp_path: Path) -> None:
    """A switch that changed a row's id, client or name as well would move data that is not the tool's."""
    assert message in refusal(tmp_path, **environ)


def test_columns_that_no_switch_writes_may_have_two_roles(tmp_path: Path) -> None:
    """A client may be part of a composite id, and a name be the id or stand in the template."""
    found = read(tmp_path, ID_COLUMN="client_id,title", NAME_COLUMN="title", TEMPLATE="c/{client_id}/{col.title}/{file_name}")

    assert (found.id_columns, found.client_column, found.name_column) == (("client_id", "title"), "client_id", "title")


def test_unknown_names_are_refused_with_the_nearest_one(tmp_path: Path) -> None:
    """A misspelt setting is never just left out."""
    (tmp_path / "bad.toml").write_text("graze_seconds = 1")

    assert refusal(tmp_path, GRACE="1") == "REKEY_GRACE is no setting: did you mean REKEY_GRACE_SECONDS?"
    assert refusal(tmp_path, XYZZY="1") == "REKEY_XYZZY is no setting"
    assert refusal(tmp_path, TABLE_FILE="x").startswith("REKEY_TABLE_FILE is no setting")
    assert refusal(tmp_path, config="bad.toml") == f"{tmp_path}/bad.toml: graze_seconds is no setting: did you mean grace_seconds?"


def test_secret_given_twice_or_unreadable_is_refused(tmp_path: Path) -> None:
    """The file twin is read, and nothing is chosen silently."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    rest = {name: value for name, value in GIVEN.items() if name != "REKEY_S3_SECRET_KEY"}

    assert refusal(tmp_path, S3_SECRET_KEY_FILE="x") == "REKEY_S3_SECRET_KEY and REKEY_S3_SECRET_KEY_FILE are both given: keep one"
    for name, message in {"none": "cannot be read: No such file", "empty": "is empty", "binary": "holds no UTF-8 text"}.items():
        with pytest.raises(UsageError, match=message):
            load(environ=rest | {"REKEY_S3_SECRET_KEY_FILE": name}, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size = = 1", "is no TOML"),
        ("batch_size = 0", "bad.toml: batch_size: 0 cannot be right: give a whole number from 1 to 1000"),
        ("grace_seconds = true", "bad.toml: grace_seconds: give a text in quotes, a whole number or a list of texts"),
        ("grace_seconds = 0.5", "bad.toml: grace_seconds: give a text in quotes, a whole number or a list of texts"),
        ("client_column = 0.5", "bad.toml: client_column: give a text in quotes, a whole number or a list of texts"),
        ("reconcile_seconds = true", "bad.toml: reconcile_seconds: give a number, or a text in quotes"),
        ("reconcile_seconds = 0.1", "bad.toml: reconcile_seconds: 0.1 cannot be right: give a number from 0.2 to 300"),
        ("reconcile_seconds = nan", "bad.toml: reconcile_seconds: nan cannot be right: give a number from 0.2 to 300"),
        ("client_column = 7", "bad.toml: client_column: 7 cannot be right: give a text"),
        ("references = [7]", "bad.toml: references: [7] cannot be right: give table.column"),
        ('s3_secret_key = "s3cret"\ns3_secret_key_file = "x"', "are both given"),
        ("[s3]\nbucket = 'x'", "bad.toml: s3 is no setting"),
    ],
)
def test_bad_file_is_refused_with_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    """A wrong line in the file is named by file and key."""
    (tmp_path / "bad.toml").write_text(text)

    assert message in refusal(tmp_path, config="bad.toml")


def test_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Only rekey.toml itself may be missing."""
    assert "none.toml cannot be read: No such file" in refusal(tmp_path, config="none.toml")


def test_flag_is_named_in_its_refusal(tmp_path: Path) -> None:
    """The line names the flag and not the variable that it covers."""
    assert refusal(tmp_path, {"batch_size": "x"}, BATCH_SIZE="7").startswith("--batch-size: 'x' cannot be right")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("database_url", "postgres://u:p@h/db?sslmode=require", "postgresql+psycopg://u:p@h/db?sslmode=require"),
        ("database_url", "mysql://u@h/db", "mysql+pymysql://u@h/db"),
        ("database_url", "mariadb://u@h/db", "mariadb+pymysql://u@h/db"),
        ("database_url", "sqlite:////var/lib/app.db", "sqlite:////var/lib/app.db"),
        ("database_url", "postgresql:///db?host=/run/postgresql", "postgresql+psycopg:///db?host=/run/postgresql"),
        ("broker_url", "valkey://:p@h:6379/2", "redis://:p@h:6379/2"),
        ("broker_url", f"rediss://h/0?ssl_ca_certs={__file__}", f"rediss://h/0?ssl_ca_certs={__file__}"),
        ("broker_url", "valkeys://h/0", "rediss://h/0"),
        ("broker_url", "redis+socket:///run/redis.sock", "redis+socket:///run/redis.sock"),
    ],
)
def test_url_is_brought_into_the_form_that_the_libraries_know(name: str, value: str, expected: str, tmp_path: Path) -> None:
    """People write the short schemes; SQLAlchemy and kombu need their own."""
    assert getattr(read(tmp_path, **{name.upper(): value}), name).get_secret_value() == expected


@pytest.mark.parametrize(
    "table", ["assets", "public.assets", "order", '"Tenant"."Client Assets"', "Tenant.Client Assets", '"my.schema"."a.b"']
)
def test_table_may_be_named_as_databases_name_tables(table: str, tmp_path: Path) -> None:
    """Schemas, blanks, capitals, dots in quotes and SQL's own words are fine (case 38)."""
    assert read(tmp_path, TABLE=table).table == table


def test_no_secret_shows(tmp_path: Path) -> None:
    """Neither repr, str nor the public form holds a secret; the list of secrets holds them all."""
    found = read(tmp_path)

    shown = repr(found) + str(found) + json.dumps(found.public()) + repr(pickle.loads(pickle.dumps(found)))  # noqa: S301 - our own bytes
    assert [secret for secret in ("db-pass", "broker-pass", "access-key", "secret-key") if secret in shown] == []
    assert {"db-pass", "broker-pass", "access-key", "secret-key"} <= set(found.secrets)


def test_public_form_names_every_setting_but_the_keys(tmp_path: Path) -> None:
    """The run's record can be compared setting by setting."""
    found = read(tmp_path, {"references": "a.b"}).public()

    assert set(found) == {setting.name for setting in declared()} - {
        "s3_access_key",
        "s3_secret_key",
        "probe_url",
        "webhook_url",
        "webhook_secret",
    }
    assert (found["database_url"], found["references"]) == ("postgresql+psycopg://app:***@db/app", ["a.b"])


def test_settings_are_frozen_and_read_no_environment_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ``load`` reads the environment."""
    monkeypatch.setenv("REKEY_BATCH_SIZE", "7")
    monkeypatch.setenv("BATCH_SIZE", "7")

    assert Settings().batch_size == 200
    with pytest.raises(ValidationError):
        read(tmp_path).batch_size = 1


def test_secrets_have_a_twin_and_no_flag() -> None:
    """What is secret stands in no process list."""
    secret = {setting.name for setting in declared() if setting.secret}

    assert secret == {"database_url", "broker_url", "s3_access_key", "s3_secret_key", "probe_url", "webhook_url", "webhook_secret"}
    assert {setting.flag for setting in declared() if setting.secret} == {None}
    assert all(setting.flag and setting.help.endswith(".") for setting in declared() if not setting.secret)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), (" TRUE ", True)])
def test_truth_value_is_read_from_the_environment(text: str, value: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """In either spelling of the two words."""
    assert load({}, environ={"REKEY_JOURNAL": text}, required=()).journal is value


@pytest.mark.parametrize("text", ["yes", "1", "off"])
def test_truth_value_in_other_words_is_refused_by_name(text: str) -> None:
    """With the two words that it takes."""
    with pytest.raises(UsageError, match=r"REKEY_JOURNAL.*give true or false"):
        load({}, environ={"REKEY_JOURNAL": text}, required=())


@pytest.mark.parametrize(("line", "value"), [("journal = false", False), ('journal = "false"', False), ("journal = true", True)])
def test_truth_value_in_the_file_is_one_of_toml_or_a_text(line: str, value: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Both are what people write."""
    (tmp_path / "rekey.toml").write_text(line, encoding="utf-8")

    assert load({}, environ={}, folder=tmp_path, required=()).journal is value


@pytest.mark.parametrize("line", ["reconcile_seconds = 0.5", 'reconcile_seconds = "0.5"', "reconcile_seconds = 5e-1"])
def test_fraction_in_the_file_is_one_of_toml_or_a_text(line: str, tmp_path: Path) -> None:
    """Where the setting takes fractions."""
    (tmp_path / "rekey.toml").write_text(line, encoding="utf-8")

    assert load({}, environ={}, folder=tmp_path, required=()).reconcile_seconds == pytest.approx(0.5)


def test_settings_page_is_current() -> None:
    """docs/settings.md is what the declarations say."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_page()


def test_import_brings_in_no_heavy_library() -> None:
    """The settings alone need neither Celery nor SQLAlchemy nor minio: commands start fast."""
    code = "import sys, app.settings; print([name for name in ('celery', 'sqlalchemy', 'minio', 'kombu') if name in sys.modules])"

    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
