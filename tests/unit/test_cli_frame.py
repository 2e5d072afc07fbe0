"""The command line's frame: lazy sub-commands, exit statuses, one line an error, flags from the declared settings."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from app import cli, install, resources
from app.cli import init
from app.cli.options import confirm, settings_flags
from app.errors import BrokerUnavailableError, UsageError
from app.settings import declared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.settings import Settings

ROOT = Path(__file__).parents[2]
MAKING = {"demo", "dev", "doctor", "init"}  # what makes a database of its own, and the one that tells of many things at once
NEEDED = {"set": ("copy_rate=1",), "metrics": ("--once",)}


@pytest.fixture(autouse=True)
def _clean_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings from this machine, and the root logger as before."""
    for name in [name for name in cli.os.environ if name.startswith("REKEY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Makes a function the sub-command ``try``."""

    def install_it(function: Callable[..., object]) -> None:
        module = types.ModuleType("made_for_a_test")
        module.command = function if isinstance(function, click.Command) else click.command()(function)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "made_for_a_test", module)
        monkeypatch.setitem(cli.COMMANDS, "try", cli.Entry("made_for_a_test:command", "Only here."))

    return install_it


def failing(error: BaseException) -> Callable[[], None]:
    """A sub-command that ends with *error*."""

    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_can_be_imported_and_prints_json(name: str) -> None:
    """Each entry leads to a command of that name, described, with --json; of a group, each command below it."""
    found = cli.root.get_command(click.Context(cli.root), name)

    assert found is not None
    assert found.name == name
    assert found.help
    for command in found.commands.values() if isinstance(found, click.Group) else [found]:
        assert "--json" in [option for parameter in command.params for option in parameter.opts]


def test_help_lists_all_commands_and_imports_none() -> None:
    """``rekey --help`` is fast: no settings, no Celery, no SQLAlchemy, no minio."""
    code = "import sys; from app.cli import main; status = main(['--help']); print([n for n in sys.modules if n in %r]); sys.exit(status)"
    heavy = ["celery", "kombu", "sqlalchemy", "minio", "redis", "pydantic", "app.settings"]

    found = subprocess.run([sys.executable, "-c", code % heavy], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout.splitlines()[-1] == "[]"
    assert [name for name in cli.COMMANDS if f"  {name} " not in found.stdout] == []


@pytest.mark.parametrize("command", ["status", "steer", "turn", "reopen", "report"])
def test_commands_that_need_no_store_and_no_broker_import_none(command: str) -> None:
    """They answer within a second: minio alone would take a fifth of it."""
    code = f"import sys, app.cli.{command}, app.report; print([n for n in ('celery', 'kombu', 'minio', 'redis') if n in sys.modules])"

    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_python_m_app_is_the_command() -> None:
    """``python -m app`` gives the same exit status and lines."""
    found = subprocess.run([sys.executable, "-m", "app", "inti"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (found.returncode, found.stdout, found.stderr) == (2, "", "rekey: no command 'inti': did you mean init?\n")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("REKEY_TABLE: no"), 2, "rekey: REKEY_TABLE: no\n"),
        (click.BadParameter("must be 1"), 2, "rekey try: Invalid value: must be 1\n"),
        (BrokerUnavailableError("redis://:s3cret@host\ndoes not answer"), 1, "rekey: redis://:***@host does not answer\n"),
        (ValueError("bad"), 1, "rekey: unexpected ValueError: bad (REKEY_DEBUG=1 shows where)\n"),
        (click.Abort(), 1, "rekey: nothing was done\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_error_is_one_line_and_a_status(
    error: BaseException, status: int, line: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """What the user sees of an error is one line without secrets, never a traceback."""
    command(failing(error))

    assert cli.main(["try"]) == status
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("answer", "status", "line"),
    [(KeyboardInterrupt(), 130, "\n"), (EOFError(), 1, "rekey: nothing was done\n"), ("n", 1, "rekey: nothing was done\n")],
    ids=["ctrl_c", "ctrl_d", "no"],
)
def test_question_that_is_not_answered_with_yes_says_how_it_ended(
    answer: BaseException | str,
    command: Callable[..., None],
    *,
    status: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C is Ctrl-C there too; no answer is a no."""

    def typed(*_: object) -> str:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(click.termui, "visible_prompt_func", typed)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    command(lambda: confirm("Delete all?", yes=False))
    found = cli.main(["try"])

    assert (found, capsys.readouterr().err.rpartition("]:")[2].lstrip(" ")) == (status, line)


def test_debug_shows_the_traceback_without_secrets(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """REKEY_DEBUG=1 is for reports of faults."""
    monkeypatch.setenv("REKEY_DEBUG", "1")
    command(failing(ValueError("redis://:s3cret@host")))

    assert cli.main(["try"]) == 1
    text = capsys.readouterr().err
    assert "Traceback (most recent call last)" in text
    assert "s3cret" not in text


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (3, 3), (1, 1)])
def test_returned_number_is_the_exit_status(returned: int | None, status: int, command: Callable[..., None]) -> None:
    """A command says how it went by what it returns."""
    command(lambda: returned)

    assert cli.main(["try"]) == status


@pytest.mark.parametrize("arguments", [[], ["--nope"], ["try", "--nope"], ["try", "more"]])
def test_wrong_usage_ends_with_two(arguments: list[str], command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing, unknown options and too many arguments are usage errors, on standard error."""
    command(lambda: None)

    assert cli.main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err


def test_enqueue_is_rekey_enqueue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The console script ``enqueue`` hands its arguments on."""
    monkeypatch.setattr(sys, "argv", ["enqueue", "--no-such-flag"])

    assert cli.enqueue_main() == 2
    assert "rekey enqueue: No such option" in capsys.readouterr().err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """--version needs no settings."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"rekey {cli.product_version()}\n"


def test_reader_that_goes_away_is_no_traceback() -> None:
    """``rekey --help | head -0`` ends quietly."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read(); from app.cli import main; sys.exit(main(['--help']))"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, complaint = process.communicate("")

    assert (process.returncode, complaint) == (1, "")


def with_settings(**options: object) -> click.Command:
    """A command that prints some of its settings."""

    @click.command()
    @settings_flags(required=(), **options)  # type: ignore[arg-type]
    def show(*, settings: Settings) -> None:
        click.echo(f"{settings.batch_size} {settings.copy_mode} {settings.where} {logging.getLevelName(logging.getLogger().level)}")

    return show


def test_flags_reach_the_settings(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each setting without a secret has a flag that wins over the environment; --config names the file."""
    command(with_settings())
    monkeypatch.setenv("REKEY_BATCH_SIZE", "7")
    Path("my.toml").write_text('where = "id > 1"\nbatch_size = 9\n')

    assert cli.main(["try", "--copy", "server", "--config", "my.toml"]) == 0
    assert cli.main(["try", "--batch-size", "8", "--where", "", "--log-level", "debug"]) == 0
    assert capsys.readouterr().out == "7 server id > 1 INFO\n8 auto None DEBUG\n"


def test_quiet_command_logs_errors_only_unless_asked(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """A command whose output is the screen keeps log lines away, but the operator can have them."""
    command(with_settings(log_level="error"))

    assert cli.main(["try"]) == 0
    assert cli.main(["try", "--log-level", "info"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["ERROR", "INFO"]


def test_wrong_flag_is_refused_in_the_settings_words(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """One refusal for one mistake, wherever the value comes from."""
    command(with_settings())

    assert cli.main(["try", "--batch-size", "none"]) == 2
    assert capsys.readouterr().err == "rekey: --batch-size: 'none' cannot be right: give a whole number from 1 to 1000\n"


def test_no_secret_has_a_flag() -> None:
    """Everyone on a machine can read a process's arguments (S10)."""
    flags = {option for parameter in with_settings().params for option in parameter.opts}

    assert flags == {setting.flag for setting in declared() if not setting.secret} | {"--config"}
    assert not flags & {"--database-url", "--broker-url", "--s3-access-key", "--s3-secret-key"}


def test_foreign_packages_are_refused_before_anything_else(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's ``tasks`` in the way is one line and status 2 (FACTS, Celery 7)."""
    command(with_settings())
    monkeypatch.setattr(install, "HOME", Path("/somewhere/else"))

    assert cli.main(["try"]) == 2
    assert "is not this product's" in capsys.readouterr().err


def test_init_makes_the_ledger_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nothing but the database is asked for; a second call changes nothing."""
    monkeypatch.setenv("REKEY_DATABASE_URL", f"sqlite:///{tmp_path}/app.db")

    assert cli.main(["init", "--json"]) == 0
    assert cli.main(["init", "--json"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["made"], second["made"]) == (True, False)
    assert first["schema_version"] == init.schema.SCHEMA_VERSION


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name not in MAKING])
def test_mistyped_database_file_is_refused_and_not_made(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """By each command but `init`, which makes one."""
    settings = {
        "S3_ENDPOINT": "http://127.0.0.1:1",
        "S3_BUCKET": "assets",
        "S3_ACCESS_KEY": "k",
        "S3_SECRET_KEY": "s3cret",
        "TABLE": "assets",
    }
    for setting, value in {**settings, "DATABASE_URL": "sqlite:///mistyped.db", "BROKER_URL": "redis://127.0.0.1:1/0"}.items():
        monkeypatch.setenv(f"REKEY_{setting}", value)
    monkeypatch.setattr(resources, "_settings", None)

    assert cli.main([name, *NEEDED.get(name, ())]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"REKEY_DATABASE_URL: there is no file '{tmp_path}/mistyped.db': correct the path" in line
    assert "--no-save" not in line
    assert list(tmp_path.iterdir()) == []


def test_init_sql_prints_what_a_dba_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The printed statements make a ledger that the program takes for its own; nothing is sent meanwhile."""
    monkeypatch.setenv("REKEY_DATABASE_URL", f"sqlite:///{tmp_path}/app.db")

    assert cli.main(["init", "--sql"]) == 0
    script = capsys.readouterr().out
    assert not (tmp_path / "app.db").exists()
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as database:
        database.executescript(script)
    assert cli.main(["init", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] is False


def test_init_sql_since_prints_only_what_former_tables_lack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is for a DBA alone: without --sql the command sees by itself."""
    monkeypatch.setenv("REKEY_DATABASE_URL", f"sqlite:///{tmp_path}/app.db")

    assert cli.main(["init", "--sql", "--since", "4"]) == 0
    script = capsys.readouterr().out
    assert [line.split("(")[0].strip() for line in script.splitlines() if line.startswith(("CREATE", "UPDATE", "INSERT"))] == [
        "CREATE TABLE rekey_ladders",
        "CREATE TABLE rekey_throttles",
        "CREATE TABLE rekey_tallies",
        "CREATE TABLE rekey_visits",
        "CREATE INDEX rekey_visits_due ON rekey_visits",
        "UPDATE rekey_meta SET value = '5' WHERE name = 'schema_version';",
    ]
    assert cli.main(["init", "--since", "3"]) == 2
    assert "--since goes with --sql" in capsys.readouterr().err


def test_init_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a database URL there is nothing to do."""
    assert cli.main(["init"]) == 2
    assert capsys.readouterr().err.startswith("rekey: not set: REKEY_DATABASE_URL;")


def test_interrupt_ends_with_its_status_wherever_it_came(tmp_path: Path) -> None:
    """Also while a module was imported that makes a class from a text: `python -m` would then die of the signal."""
    (tmp_path / "sitecustomize.py").write_text(
        "import app.cli\n"
        "def main():\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        return app.cli.INTERRUPTED\n"
        "app.cli.main = main\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    ended = subprocess.run([sys.executable, "-m", "app"], env={**os.environ, "PYTHONPATH": path}, check=False, timeout=60)

    assert ended.returncode == 130
