"""What an operator can get wrong: one line that says what and how, the right exit status, no traceback, and nothing touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.acceptance.deployment import Deployment
from tests.integration.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.acceptance.deployment import Ended
    from tests.acceptance.service import Service

ERROR, USAGE = 1, 2


@pytest.fixture(scope="module")
def table(deployment: Deployment) -> tuple[Service, Mapping[str, str]]:
    """A table and a bucket with three assets that nobody may touch."""
    service, named = deployment.service()
    service.fill(3)
    return service, named


def refused(ended: Ended, status: int, *words: str) -> None:
    """See that a command was refused in one line with these words."""
    assert (ended.status, ended.out) == (status, ""), ended.err
    line = ended.complaint
    assert [word for word in words if word not in line] == [], line
    assert "Traceback" not in line


def runs(deployment: Deployment, service: Service) -> int:
    """How many runs the ledger has on this table."""
    return int(service.table.run("SELECT COUNT(*) FROM rekey_runs WHERE table_name = :name", name=service.table.name)[0][0])


@pytest.mark.parametrize(
    ("settings", "status", "words"),
    [
        ({"REKEY_TABLE": "no_such_table"}, USAGE, ("REKEY_TABLE", "no_such_table")),
        ({"REKEY_KEY_COLUMN": "no_such_column"}, USAGE, ("no_such_column", "object_key")),
        ({"REKEY_CLIENT_COLUMN": "no_such_column"}, USAGE, ("REKEY_CLIENT_COLUMN", "no_such_column", "client_id")),
        ({"REKEY_VERSION_COLUMN": "client_id"}, USAGE, ("REKEY_VERSION_COLUMN", "REKEY_CLIENT_COLUMN")),
        ({"REKEY_VERSION_COLUMN": "title"}, USAGE, ("REKEY_VERSION_COLUMN", "whole numbers")),
        ({"REKEY_ID_COLUMN": "no_such_column"}, USAGE, ("no_such_column",)),
        ({"REKEY_NAME_COLUMN": "no_such_column"}, USAGE, ("no_such_column",)),
        ({"REKEY_TEMPLATE": "clients/{col.colour}/{file_name}"}, USAGE, ("colour",)),
        ({"REKEY_TEMPLATE": "clients/{tenant}/{file_name}"}, USAGE, ("REKEY_TEMPLATE", "{tenant}", "{client_id}")),
        ({"REKEY_TEMPLATE": "clients/all"}, USAGE, ("REKEY_TEMPLATE",)),
        ({"REKEY_REFERENCES": "thumbnails.object_key"}, USAGE, ("REKEY_REFERENCES", "thumbnails")),
        ({"REKEY_WHERE": "no_such_column = 1"}, USAGE, ("REKEY_WHERE",)),
        ({"REKEY_S3_BUCKET": "no-such-bucket-here"}, USAGE, ("no-such-bucket-here",)),
        ({"REKEY_S3_BUCKET": "No_Bucket"}, USAGE, ("REKEY_S3_BUCKET",)),
        ({"REKEY_S3_SECRET_KEY": "wrong-secret"}, USAGE, ("REKEY_S3_SECRET_KEY",)),
        ({"REKEY_S3_ACCESS_KEY": "nobody"}, USAGE, ("REKEY_S3_ACCESS_KEY",)),
        ({"REKEY_S3_ENDPOINT": "http://127.0.0.1:CLOSED"}, ERROR, ("REKEY_S3_ENDPOINT",)),
        ({"REKEY_S3_ENDPOINT": "127.0.0.1:9000"}, USAGE, ("REKEY_S3_ENDPOINT", "http://")),
        ({"REKEY_BROKER_URL": "redis://127.0.0.1:CLOSED/0"}, ERROR, ("REKEY_BROKER_URL",)),
        ({"REKEY_BROKER_URL": "amqp://localhost"}, USAGE, ("REKEY_BROKER_URL", "redis://")),
        ({"REKEY_DATABASE_URL": "postgresql://user:hidden@127.0.0.1:CLOSED/assets"}, ERROR, ("database",)),
        (
            {"REKEY_LEASE_SECONDS": "60", "REKEY_VISIBILITY_TIMEOUT_SECONDS": "60"},
            USAGE,
            ("REKEY_LEASE_SECONDS", "REKEY_VISIBILITY_TIMEOUT_SECONDS"),
        ),
        ({"REKEY_REQUEST_TIMEOUT_SECONDS": "30"}, USAGE, ("REKEY_REQUEST_TIMEOUT_SECONDS", "REKEY_LEASE_SECONDS")),
        ({"REKEY_RECONCILE_SECONDS": "9", "REKEY_LOOK_SECONDS": "5"}, USAGE, ("REKEY_RECONCILE_SECONDS", "REKEY_LOOK_SECONDS")),
        ({"REKEY_GRACE_SECONDS": "an hour"}, USAGE, ("REKEY_GRACE_SECONDS", "an hour")),
        ({"REKEY_GRACE_SECOND": "60"}, USAGE, ("REKEY_GRACE_SECOND", "REKEY_GRACE_SECONDS")),
        ({"REKEY_QUEUE_PREFIX": " "}, USAGE, ("REKEY_QUEUE_PREFIX",)),
    ],
    ids=lambda value: "-".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, dict) else "",
)
def test_enqueue_refuses_what_cannot_be_right(
    settings: dict[str, str], status: int, words: tuple[str, ...], table: tuple[Service, Mapping[str, str]], deployment: Deployment
) -> None:
    """Before anything is written: no run, and rows and objects as they were."""
    settings = {name: text.replace("CLOSED", str(free_port())) for name, text in settings.items()}
    service, named = table
    before = (runs(deployment, service), service.table.keys(), service.bucket.versions())

    ended = deployment.rekey("enqueue", "--json", **{**named, **settings})

    refused(ended, status, *words)
    assert "hidden" not in ended.err
    assert "wrong-secret" not in ended.err
    assert (runs(deployment, service), service.table.keys(), service.bucket.versions()) == before


def test_wrong_database_password_is_an_error_without_the_password(table: tuple[Service, Mapping[str, str]], deployment: Deployment) -> None:
    """The line names neither the right nor the wrong one."""
    wrong = deployment.database_url.replace(deployment.database_url.split(":")[2].partition("@")[0], quote("wr0ng-pass"))

    ended = deployment.rekey("enqueue", **{**table[1], "REKEY_DATABASE_URL": wrong})

    refused(ended, ERROR, "database")
    assert "wr0ng-pass" not in ended.err


def test_key_column_that_is_too_short_is_refused(deployment: Deployment) -> None:
    """PostgreSQL would refuse a whole batch, MySQL would cut the keys off."""
    service, named = deployment.service(key_type="VARCHAR(20)")
    service.fill(2)

    refused(deployment.rekey("enqueue", **named), USAGE, "object_key", "20", "widen")

    assert runs(deployment, service) == 0


def test_missing_ledger_is_refused_with_the_command_that_makes_it(
    table: tuple[Service, Mapping[str, str]], deployment: Deployment, tmp_path: Path
) -> None:
    """In every command that needs it."""
    other = {**table[1], "REKEY_DATABASE_URL": f"sqlite:///{tmp_path}/empty.db"}

    for command in ("enqueue", "status", "pause", "resume"):
        refused(deployment.rekey(command, **other), USAGE, "rekey init")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("app", "enqueue"), "REKEY_DATABASE_URL"),
        (("app", "status"), "REKEY_TABLE"),
        (("celery", "-A", "app", "worker", "-Q", "copy"), "REKEY_BROKER_URL"),
        (("celery", "-A", "app", "worker", "-Q", "copy"), "REKEY_S3_SECRET_KEY"),
        (("celery", "-A", "app", "beat"), "REKEY_BROKER_URL"),
        (("workers",), "REKEY_S3_ENDPOINT"),
        (("workers", "copy"), "REKEY_S3_BUCKET"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_missing_setting_is_refused_by_name(command: tuple[str, ...], name: str, deployment: Deployment) -> None:
    """In each way to start a command or a worker: no fall-back to a broker or database that nobody named."""
    refused(deployment.run(*command, without=(name,)), USAGE, name)


@pytest.mark.parametrize("package", ["app", "tasks", "workers"])
def test_foreign_package_in_the_current_folder_is_not_taken_for_ours(package: str, deployment: Deployment, tmp_path: Path) -> None:
    """A service has folders of these names. ``celery -A app`` beside its own ``app`` means that one; nothing of ours runs then."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("", encoding="utf-8")

    ended = deployment.run("celery", "-A", "app", "worker", "-Q", "copy", cwd=tmp_path)

    assert ended.status == USAGE
    assert "Traceback" not in ended.err
    if package != "app":
        refused(ended, USAGE, package, str(tmp_path))
    else:
        assert "app" in ended.err


def test_commands_work_in_a_folder_with_packages_of_the_same_names(
    table: tuple[Service, Mapping[str, str]], deployment: Deployment, tmp_path: Path
) -> None:
    """The console script does not look for modules in the current folder."""
    for package in ("app", "tasks", "workers"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("", encoding="utf-8")
    script = "import sys; sys.path.remove(''); from app.cli import main; sys.argv = ['rekey', 'doctor', '--json']; sys.exit(main())"

    done = subprocess.run(
        [sys.executable, "-c", script], env=deployment.environ | dict(table[1]), cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.timeout(300)
def test_empty_table_is_a_run_that_is_done_at_once(working: Deployment) -> None:
    """Nothing to move is no error."""
    _, named = working.service()

    ended = working.rekey("enqueue", "--watch", "--json", seconds=200, **named)

    assert ended.status == 0, ended.err
    assert (ended.report["rows"], ended.report["state"], ended.report["open"]) == (0, "finished", 0)
