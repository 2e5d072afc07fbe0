"""What the steering commands refuse, as a user types it, on an SQLite ledger: one line, exit status 2, nothing changed anywhere."""

from __future__ import annotations

import dataclasses
import getpass
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app import cli, resources
from app.assets import Assets
from app.cli import identity, starting, watching
from app.cli.verify import write_findings
from app.database import SERVER_TIMEOUT_SECONDS, transaction
from app.errors import BrokerUnavailableError, RekeyError, StoreUnavailableError
from app.object_keys import EXACT
from app.run_settings import run_settings, table_names
from app.states import RunState
from app.testing.versions import CONDITIONAL
from tasks import messages
from tests.builders import World, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from app.object_store import Capabilities

USAGE = 2
ROOT = Path(__file__).parents[2]
REKEY = (sys.executable, "-m", "app")
FLAGS = ("--s3-bucket", "assets", "--table", "assets")
TABLES = ("rekey_runs", "rekey_moves", "rekey_turns", "assets")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A process without settings but the ledger's address, and the endpoint and broker that some commands ask for; nobody is there."""
    made = World(tmp_path, settings={"grace_seconds": 0})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REKEY_DATABASE_URL", f"sqlite:///{tmp_path}/world.db")
    monkeypatch.setenv("REKEY_BROKER_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("REKEY_S3_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("REKEY_S3_ACCESS_KEY", "nobody")
    monkeypatch.setenv("REKEY_S3_SECRET_KEY", "nothing-at-all")
    monkeypatch.setattr(resources, "_settings", None)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield made
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def store_that_refuses() -> Iterator[str]:
    """The address of a store that is up and answers each request that has no signature with 403."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_PUT = do_GET  # noqa: N815 - as the server calls them

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def running(world: World) -> World:
    """A run with a switched asset and one that is parked."""
    world.add(1)
    world.add(2, body=None)
    world.moved()
    return world


@pytest.fixture
def ended(world: World) -> World:
    """A run that has ended: one asset moved, one parked."""
    world.add(1)
    world.add(2, body=None)
    world.go()
    return world


def everything(world: World) -> list[list[tuple[object, ...]]]:
    """All that the database holds of table and ledger."""
    with closing(sqlite3.connect(world.folder / "world.db")) as connection:
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]


def refused(world: World, capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """See that a command ends with 2 and one line, which is given, and changes nothing."""
    before = everything(world)
    capsys.readouterr()
    status = cli.main([*command, *FLAGS])
    out, err = capsys.readouterr()

    assert (status, out) == (USAGE, ""), err
    assert everything(world) == before
    (line,) = err.splitlines()
    return line


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (("copy_rate=-1",), "whole number from 0 to"),
        (("copy_rate=1e6",), "whole number from 0 to"),
        (("copy_rate=",), "whole number from 0 to"),
        (("grace_seconds=7776001",), "whole number from 0 to"),
        (("batch_size=0",), "whole number from 1 to"),
        (("batch_size=1001",), "whole number from 1 to"),
        (("max_in_flight=0",), "whole number from 1 to"),
        (("max_deletes=-1",), "whole number from 0 to"),
        (("max_deletes=99999999999999999999999",), "whole number from 0 to"),
        (("hold=yes",), "true or false"),
        (("window=22",), "window=22: give hours and a time zone, like 22:00-06:00 Europe/Berlin"),
        (("window=22:00-06:00 Mars",), "window=22:00-06:00 Mars: 'Mars' is no time zone here"),
        (("window=22:00-22:00",), "a window that begins when it ends is open always or never"),
        (("adapt=maybe",), "adapt=maybe: give true or false"),
        (("deletes_wait=1",), "deletes_wait=1: give true or false"),
        (("guard_percent=101",), "guard_percent=101: give a whole number from 0 to 100"),
        (("lease_seconds=20",), "NAME=VALUE"),
        (("copy_rate",), "NAME=VALUE"),
        (("hold=true", "max_deletes=3", "rename_rate=5", "copy_rate=fast"), "whole number from 0 to"),
        ((), "nothing to set"),
    ],
)
def test_set_refuses_a_knob_out_of_range(running: World, capsys: pytest.CaptureFixture[str], pairs: tuple[str, ...], words: str) -> None:
    """Of several pairs none is set where one is wrong."""
    assert words in refused(running, capsys, "set", *pairs)


@pytest.mark.parametrize(
    ("kind", "client"),
    [
        ("INTEGER", "99999999999999999999"),
        ("INTEGER", "-9223372036854775809"),
        ("INTEGER", "x"),
        ("NUMERIC(20)", "x"),
        ("BLOB", "x"),
        ("DATE", "2020-02-30"),
    ],
)
def test_client_that_the_column_cannot_have_starts_nothing(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str, client: str
) -> None:
    """Whether its column, the driver or the database refuses it."""
    monkeypatch.setattr(starting, "_fit_store", lambda _settings: CONDITIONAL.capabilities())
    monkeypatch.setattr(messages, "check_broker", lambda: None)
    world.sql("DROP TABLE assets")
    world.sql(f"CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id {kind}, object_key TEXT)")

    line = refused(world, capsys, "enqueue", "--client", client)

    assert line == f"rekey: --client: the column 'client_id' holds no such value as {client!r}"


def test_client_of_a_date_is_found(world: World) -> None:
    """SQLite's driver takes dates alone for one."""
    world.sql("DROP TABLE assets")
    world.sql("CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id DATE, object_key TEXT)")
    world.sql("INSERT INTO assets (id, client_id, object_key) VALUES (1, '2020-02-29', 'up/1.png')")
    assets = Assets(world.engine, table_names(make_settings()), EXACT).of_clients(("2020-02-29",))

    with transaction(world.engine, read_only=True) as connection:
        assert assets.count(connection) == 1


@pytest.mark.parametrize("command", [("status", "--run", "\udcff"), ("retry", "--client", "\udcff"), ("plan", "--show", "\udcff")])
def test_argument_that_is_no_text_is_named(running: World, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """As a shell passes on bytes that are no UTF-8."""
    assert refused(running, capsys, *command) == r"rekey: the argument '\udcff' holds bytes that are no UTF-8 text"


@pytest.mark.parametrize("port", ["65536", "9" * 5000, "-1", "٣", ""])
def test_port_that_is_none_is_refused(running: World, capsys: pytest.CaptureFixture[str], port: str) -> None:
    """However long it is."""
    assert "is no HOST:PORT, such as 127.0.0.1:9464" in refused(running, capsys, "metrics", "--listen", f"127.0.0.1:{port}")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_metrics_end_as_they_are_asked_to(running: World, signum: int, status: int) -> None:
    """By Ctrl-C as every command does; whoever keeps services asks by SIGTERM, and that is no failure."""
    command = [*REKEY, "metrics", "--listen", "127.0.0.1:0", *FLAGS]
    with subprocess.Popen(
        command, cwd=running.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    ) as served:
        assert served.stderr is not None
        assert served.stderr.readline().startswith("metrics at http://127.0.0.1:")
        served.send_signal(signum)
        said = served.stderr.read()

    assert (served.returncode, said) == (status, "")


def test_set_names_the_knob_as_it_was_typed(running: World, capsys: pytest.CaptureFixture[str]) -> None:
    """And not a flag that this command does not have for it."""
    assert refused(running, capsys, "set", "copy_rate=-1") == "rekey: copy_rate=-1: give a whole number from 0 to 1000000"


@pytest.mark.parametrize("count", ["-1", "99999999999999999999999", "many"])
def test_bound_of_deletes_out_of_range_is_refused(running: World, capsys: pytest.CaptureFixture[str], count: str) -> None:
    """Before a run is started, or anything is asked or released."""
    for command in (("enqueue",), ("release", "--yes")):
        assert "--max-deletes" in refused(running, capsys, *command, "--max-deletes", count)


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("pause",),
        ("resume",),
        ("cancel", "--yes"),
        ("set", "copy_rate=1"),
        ("retry",),
        ("release", "--yes"),
        ("rollback", "--yes"),
        ("verify",),
        ("report",),
    ],
    ids=lambda command: command[0],
)
def test_unknown_run_is_refused(running: World, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """By each command that takes one; an id that several runs begin with is none, and neither is an empty one."""
    for run_id in ("ffffffff", "", "%"):
        assert "run" in refused(running, capsys, *command, "--run", run_id)


@pytest.mark.parametrize("command", [("status",), ("report",), ("rollback", "--dry-run")], ids=lambda command: command[0])
def test_last_is_the_newest_run(ended: World, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """Where a run is taken, that is one way to say it; with nothing said it is meant too."""
    done = cli.main([*command, "--run", "last", "--json", *FLAGS])
    told = capsys.readouterr().out
    again = cli.main([*command, "--json", *FLAGS])

    assert (done, again) == (0, 0)
    assert ended.run.id in told
    assert told == capsys.readouterr().out


def test_last_is_refused_where_no_run_is(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """In the words that an unnamed run gets."""
    for command in (("status",), ("pause",), ("rollback", "--yes"), ("verify",)):
        assert "no run yet" in refused(world, capsys, *command, "--run", "last", "--table", "nobodys")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("enqueue", "--until", "renamed"), "--until goes with --watch"),
        (("rollback", "--dry-run", "--watch"), "--watch does not go with --dry-run"),
        (("plan", "--show", "1f6e01c2", "--thorough"), "--show prints a plan as it was made: leave out --thorough"),
        (("plan", "--show", "1f6e01c2", "--sample", "7"), "--show prints a plan as it was made: leave out --sample"),
        (("plan", "--show", "1f6e01c2", "--no-save"), "--show prints a plan as it was made: leave out --no-save"),
        (("plan", "--show", "1f6e01c2", "--price-per-1000", "put=1"), "--show prints a plan as it was made: leave out --price-per-1000"),
    ],
)
def test_flag_that_would_have_no_effect_is_refused(
    ended: World, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], words: str
) -> None:
    """Before anything else is looked at: nobody shall wait for what was not started."""
    assert words in refused(ended, capsys, *command)


@pytest.mark.parametrize("flag", ["--state", "--output"])
def test_verify_makes_no_folder(ended: World, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    """One that is not there is misspelt, more likely than not."""
    line = refused(ended, capsys, "verify", flag, f"{ended.folder}/none/x")

    assert line == f"rekey: {flag} {ended.folder}/none/x: there is no such folder"
    assert not (ended.folder / "none").exists()


@pytest.mark.parametrize(
    "command",
    [("report",), ("report", "--html"), ("status", "--json"), ("init", "--sql"), ("verify", "--help")],
    ids=lambda command: command[0],
)
def test_full_disk_below_standard_output_is_an_error_in_plain_words(ended: World, command: tuple[str, ...]) -> None:
    """What could not be written, and why; no complaint of the interpreter at its end either."""
    flags = FLAGS if command[0] in {"report", "status"} else ()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run([*REKEY, *command, *flags], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ended.folder, check=False)

    assert (done.returncode, done.stderr) == (1, "rekey: standard output could not be written: No space left on device\n")


@pytest.mark.parametrize("command", [("report",), ("init", "--sql")], ids=lambda command: command[0])
def test_reader_that_has_gone_is_no_error_to_tell(ended: World, command: tuple[str, ...]) -> None:
    """As with ``| head``."""
    flags = FLAGS if command[0] == "report" else ()
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as gone:  # noqa: PTH123 - it has no path
        done = subprocess.run([*REKEY, *command, *flags], stdout=gone, stderr=subprocess.PIPE, text=True, cwd=ended.folder, check=False)

    assert (done.returncode, done.stderr) == (1, "")


def test_full_disk_below_the_findings_of_verify_is_an_error_and_no_wrong_usage() -> None:
    """The folder is there, and there was room when it began."""
    with pytest.raises(RekeyError, match=r"^--output /dev/full could not be written: No space left on device$"):
        write_findings(Path("/dev/full"), [{"kind": "missing"}])


def test_status_of_a_run_with_parked_rows_ends_with_nought_and_says_so(ended: World, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells how things are; it is the command that moves rows whose status says whether all were."""
    statuses = [cli.main(["status", *watching, *FLAGS]) for watching in ((), ("--watch",))]
    cli.main(["status", "--json", *FLAGS])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    cli.main(["status", "--help"])

    assert (statuses, report["parked"]) == ([0, 0], 1)
    assert "Exit status: 0 whatever became of the rows, parked ones too" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ["enqueue", "rollback", "plan", "doctor", "verify", "demo"])
def test_help_of_a_command_that_may_end_with_three_says_when(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Scripts go by it."""
    cli.main([command, "--help"])
    _, _, said = " ".join(capsys.readouterr().out.split()).partition("Exit status: 0 ")

    assert " 3 " in said.partition("Options:")[0]


def test_rollback_after_a_run_that_found_all_in_place_names_the_one_that_moved(ended: World, capsys: pytest.CaptureFixture[str]) -> None:
    """That is the one that is meant; it is not taken by itself, since nobody has named it."""
    first = ended.run.id
    for _ in range(2):
        ended.run_id = ""
        ended.go()
    line = refused(ended, capsys, "rollback", "--yes")

    assert f"run {ended.run.id[:8]} has nothing to take back" in line
    assert line.endswith(f"; the newest run with switched rows is {first[:8]}: `rekey rollback --run {first[:8]}`")


def test_rollback_names_no_other_run_where_none_has_switched_rows(running: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor for a run that was named."""
    running.go()
    running.sql("UPDATE rekey_moves SET state = 'rolled_back' WHERE state <> 'parked'")

    for command in (("rollback", "--yes"), ("rollback", "--yes", "--run", running.run.id)):
        assert refused(running, capsys, *command).endswith("it was rolled back already")


def test_rollback_of_chosen_rows_does_not_count_the_others(ended: World, capsys: pytest.CaptureFixture[str]) -> None:
    """How many of the run were not switched says nothing of the rows that are meant."""
    cli.main(["rollback", "--dry-run", *FLAGS])
    whole = capsys.readouterr().err
    cli.main(["rollback", "--dry-run", "--only-where", "id = 1", *FLAGS])
    chosen = capsys.readouterr().err

    assert "1 were not switched" in whole
    assert ": 1 rows" in chosen
    assert "not switched" not in chosen


@pytest.mark.parametrize("command", [("plan",), ("enqueue",), ("rollback", "--yes")], ids=lambda command: command[0])
def test_version_column_that_cannot_be_counted_up_starts_nothing(
    ended: World, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """Each switch would fail, or change what is no version; a rollback goes by the columns on record of the run that it takes back."""
    recorded = run_settings(make_settings(version_column="title"))
    ended.sql("UPDATE rekey_runs SET settings = :settings", settings=json.dumps(recorded))

    line = refused(ended, capsys, *command, "--version-column", "title")

    assert "REKEY_VERSION_COLUMN: the column 'assets.title' holds no whole numbers but TEXT" in line


@pytest.mark.parametrize("command", [("plan",), ("enqueue",), ("verify",)], ids=lambda command: command[0])
def test_missing_keys_are_a_wrong_setting_and_no_silence_of_the_store(
    ended: World,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    store_that_refuses: str,
    command: tuple[str, ...],
) -> None:
    """The store was never asked: what has to be mended is where the keys were looked for."""
    monkeypatch.setenv("HOME", str(ended.folder))
    monkeypatch.setenv("REKEY_S3_ENDPOINT", store_that_refuses)
    for name in ("AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)

    status = cli.main([*command, "--s3-credentials", "profile", *FLAGS])
    line = capsys.readouterr().err.splitlines()[-1]

    assert status == USAGE
    assert "REKEY_S3_CREDENTIALS=profile gives no keys to the object store" in line
    assert f"{ended.folder}/.aws/credentials" in line
    assert "REKEY_S3_ENDPOINT" not in line


def test_rollback_of_a_run_whose_version_was_its_client_is_refused(ended: World, capsys: pytest.CaptureFixture[str]) -> None:
    """An older program took it, and each client's id would be one higher once more."""
    recorded = run_settings(make_settings()) | {"version_column": "client_id"}
    ended.sql("UPDATE rekey_runs SET settings = :settings", settings=json.dumps(recorded))

    line = refused(ended, capsys, "rollback", "--yes")

    assert "REKEY_VERSION_COLUMN is 'client_id', which is REKEY_CLIENT_COLUMN too" in line


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("pause",), "is finished"),
        (("resume",), "is finished"),
        (("cancel", "--yes"), "is finished"),
        (("set", "copy_rate=1"), "is finished"),
        (("release", "--yes"), "holds no old object"),
        (("retry", "--reason", "denied"), "no parked asset"),
        (("retry", "--id", "1"), "no parked asset"),
        (("retry", "--client", "nobody"), "no parked asset"),
        (("retry", "--reason", "mood"), "mood"),
        (("rollback", "--client", "nobody", "--yes"), "nothing to take back"),
        (("report", "--outcome", "lost"), "lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_command_is_refused_once_a_run_has_ended(
    ended: World, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], words: str
) -> None:
    """What it could do is done."""
    assert words in refused(ended, capsys, *command)


def _away(error: Exception) -> Callable[..., Capabilities]:
    def nobody(*_: object, **__: object) -> Capabilities:
        raise error

    return nobody


@pytest.mark.parametrize(
    ("store", "broker", "words"),
    [
        (_away(StoreUnavailableError("the store does not answer")), None, "the store does not answer"),
        (lambda _: CONDITIONAL.capabilities(), _away(BrokerUnavailableError("the broker does not answer")), "the broker does not answer"),
        (lambda _: dataclasses.replace(CONDITIONAL.capabilities(), put_if_absent=False), None, "PUT If-None-Match"),
    ],
    ids=["store", "broker", "unsafe"],
)
def test_paused_run_stays_paused_where_its_rollback_cannot_start(
    running: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    store: Callable[..., Capabilities],
    broker: Callable[..., object] | None,
    words: str,
) -> None:
    """It is cancelled for good only when that is known: broker and store are asked before."""
    running.context.runs.set_state(running.run, RunState.PAUSED, only_from=RunState.RUNNING)
    monkeypatch.setattr(starting, "_fit_store", store)
    monkeypatch.setattr(messages, "check_broker", broker or (lambda: None))
    monkeypatch.setattr(watching, "watch", lambda _run: None)
    before = everything(running)
    status = cli.main(["rollback", "--yes", *FLAGS])

    assert status != 0
    assert words in capsys.readouterr().err
    assert everything(running) == before
    assert running.run.state is RunState.PAUSED


@pytest.mark.parametrize("command", [("resume",), ("cancel", "--yes"), ("retry",)], ids=lambda command: command[0])
def test_reconciler_is_sent_for_at_once(running: World, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    """What goes on or ends waits for no tick; a broker that is away delays nothing but that."""
    running.tick()
    if command == ("resume",):
        running.context.runs.set_state(running.run, RunState.PAUSED, only_from=RunState.RUNNING)
    running.set_columns(2, state="parked", parked_from="planned", reason="missing_source", live_hash=None, stage=None)
    sent: list[str] = []

    def send(task: Any) -> None:  # noqa: ANN401 - Celery's
        sent.append(task.name)
        raise BrokerUnavailableError("away")

    monkeypatch.setattr(messages, "send", send)
    done = cli.main([*command, *FLAGS])

    assert (done, sent) == (0, ["reconcile_moves"])
    clocks = running.context.runs.read_clocks(running.clock)
    assert running.context.runs.take_tick(running.run, every_seconds=2.5, clocks=clocks, host="h")


@pytest.mark.parametrize("command", [("status",), ("report",), ("rollback", "--dry-run")], ids=lambda command: command[0])
def test_questions_of_an_operator_may_take_long(ended: World, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    """A run of a hundred million assets is counted in minutes; what a worker asks has to be answered within seconds (H30)."""
    asked: list[int] = []
    opened = resources.open_engine

    def spy(url: str, *, pool_size: int, statement_seconds: int) -> Engine:
        asked.append(statement_seconds)
        return opened(url, pool_size=pool_size, statement_seconds=statement_seconds)

    monkeypatch.setattr(resources, "open_engine", spy)
    cli.main([*command, *FLAGS])
    resources.configure(statement_seconds=SERVER_TIMEOUT_SECONDS)

    assert asked == [resources.COMMAND_SECONDS]


def test_operator_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run as a user that its system does not know; a record of a run takes no more than 255 letters."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 300)

    assert identity.operator().startswith("uid-4711@hhh")
    assert len(identity.operator()) == 255


def test_what_is_sent_on_in_a_paused_run_waits_for_its_resume(running: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Said, so that nobody waits for it in vain."""
    running.set_columns(2, state="parked", parked_from="planned", reason="denied", stage=None, live_hash=None)
    assert cli.main(["pause", *FLAGS]) == 0
    capsys.readouterr()

    assert cli.main(["retry", *FLAGS]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("1 assets go on once `rekey resume` lets the paused run go on")
