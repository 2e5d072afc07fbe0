"""Commands of ours as processes forked from one that has imported everything, since a new interpreter takes 0.7 s of processor time.

From the fork on a command is what ``python -m app`` is: arguments, environment, folder, streams, signals, exit status. What a new
interpreter does before that (paths, foreign packages, imports by need) is for the tests that start one.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
PARENT_SECONDS = 5.0  # after which a server whose tests were killed ends too
_OURS = ("app", "tasks")
_BY_NEED = ("psycopg", "pymysql", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite", "kombu.transport.redis")


class Commands:
    """The process that commands are forked from; it ends with this one."""

    def __init__(self) -> None:
        self._exits = ExitStack()
        self._folder = Path(self._exits.enter_context(tempfile.TemporaryDirectory(prefix="rekey-test-")))
        self._place = str(self._folder / "commands")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("REKEY_", "CELERY_", "FLOWER_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.commands", self._place],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def run(self, module: str, *args: str, environ: Mapping[str, str], cwd: Path, seconds: float) -> tuple[int, str, str]:
        """``python -m MODULE ARGS...`` to its end: status, output, errors. One that takes longer is killed, and an AssertionError."""
        with tempfile.TemporaryFile(dir=self._folder) as out, tempfile.TemporaryFile(dir=self._folder) as err:
            asked = {"module": module, "args": args, "environ": dict(environ), "cwd": str(cwd)}
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(self._place)
                socket.send_fds(line, [json.dumps(asked).encode()], [out.fileno(), err.fileno()])
                line.shutdown(socket.SHUT_WR)
                answers = line.makefile("r", encoding="ascii")
                pid = int(answers.readline())
                line.settimeout(seconds)
                try:
                    status: int | None = int(answers.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    status = None
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode())
        assert status is not None, f"{module} {' '.join(args)} still runs after {seconds} s: {texts}"
        return status, texts[0], texts[1]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._exits.close()


@cache
def commands() -> Commands:
    """That of this test process."""
    made = Commands()
    atexit.register(made.close)
    return made


def _serve(place: str) -> dict[str, Any]:
    """Fork for each request; returns in the process that is to be the command."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(place)
        door.listen()
        door.settimeout(PARENT_SECONDS)
        parent = os.getppid()
        print("ready", flush=True)  # noqa: T201 - what the parent waits for
        while os.getppid() == parent:
            try:
                line, _ = door.accept()
            except TimeoutError:
                continue
            line.settimeout(None)
            with line:
                if os.fork():
                    continue
                door.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                asked = _asked(line)
                if asked is not None:
                    return asked
    raise SystemExit(0)


def _asked(line: socket.socket) -> dict[str, Any] | None:
    """In the command, what it is; its keeper, which this process becomes, ends with it and tells how it ended."""
    data, streams, _, _ = socket.recv_fds(line, 65536, 2)
    while more := line.recv(65536):
        data += more
    pid = os.fork()
    if pid:
        with suppress(BrokenPipeError):  # nobody waits for it any longer
            line.sendall(f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            line.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a descriptor is wanted
        for target, source in enumerate((nothing.fileno(), *streams)):
            os.dup2(source, target)
    for source in streams:
        os.close(source)
    found: dict[str, Any] = json.loads(data)
    return found


def main() -> None:
    """Import everything, serve, and be the command that was asked for."""
    for package in _OURS:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__") and not module.name.startswith("app.testing"):
                importlib.import_module(module.name)
    for name in _BY_NEED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are waited for by nobody
    asked = _serve(sys.argv[1])
    os.environ.clear()
    os.environ.update(asked["environ"])
    os.chdir(asked["cwd"])
    sys.path[0] = asked["cwd"]
    sys.argv = [asked["module"], *asked["args"]]
    status: object = 1
    try:
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = 0 if end.code is None else end.code
    except BaseException:  # noqa: BLE001 - shown as an interpreter shows it
        traceback.print_exc()
    # Not as an interpreter ends: to take all modules down would copy each page of memory that is shared with the parent.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    main()
