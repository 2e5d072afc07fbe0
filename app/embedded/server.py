"""One server program in a folder of its own: started, awaited, stopped, and started again on the same ports and data."""

from __future__ import annotations

import ctypes
import os
import pwd
import random
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.embedded.deferring import deferred
from app.embedded.process import ProcessIdentity, identify
from app.errors import ServerStartError
from app.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02
_TAIL_LINES = 3
_TAIL_BYTES = 4096
_PR_SET_PDEATHSIG = 1
_PORTS = 10_000, 32_000
_DRAW = random.SystemRandom()
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")  # no MINIO_*, AWS_*, PG* of the user's own servers
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run. Secrets go by files in *folder* or by *environment*, since everyone on the machine can read a command line."""

    name: str
    argv: tuple[str, ...]
    folder: Path
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)  # kept out of what is shown of the log
    user: str | None = None  # for programs that refuse to run as root
    stop_signal: signal.Signals = signal.SIGTERM
    remains: tuple[Path, ...] = ()  # files outside *folder* that the program leaves behind

    @property
    def log(self) -> Path:
        """The file that its output is added to."""
        return self.folder / f"{self.name}.log"


class Server:
    """A program that runs or does not. Unless *detached* it dies with this process, however that ends."""

    def __init__(self, program: Program, *, detached: bool = False, identity: ProcessIdentity | None = None) -> None:
        self.program = program
        self.identity = identity
        self._detached = detached
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout_seconds: float = START_SECONDS) -> None:
        """Start the program and return once it serves; nothing is left running where it does not.

        Call it from the main thread: the kernel ends the child with the *thread* that started it.

        Raises:
            ServerStartError: It could not be run, ended, or was not ready in time.
        """
        if self.is_running():
            return
        parent = os.getpid()

        def die_with_parent() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it ended before it could be tied to us
                os._exit(1)

        try:
            self._launch(die_with_parent)
            self._await_ready(timeout_seconds)
        except BaseException:  # Ctrl-C too: nobody else knows of this child yet
            self.kill()
            raise
        if self._detached and self._child is not None:
            self._child.returncode = 0  # ours no longer: else Popen would warn that it still runs
            self._child = None

    def _launch(self, die_with_parent: Callable[[], None]) -> None:
        program = self.program
        try:
            with program.log.open("ab") as log, deferred():
                self._child = subprocess.Popen(  # noqa: S603 - the program was chosen by us or the user
                    program.argv,
                    cwd=program.folder,
                    env=_environment(program),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    user=program.user,
                    group=None if program.user is None else pwd.getpwnam(program.user).pw_gid,
                    extra_groups=None if program.user is None else [],
                    start_new_session=True,  # Ctrl-C is for us: the workers still need the servers to end their batches
                    preexec_fn=None if self._detached else die_with_parent,  # noqa: PLW1509 - it only calls prctl
                )
                self.identity = identify(self._child.pid)
        except OSError as error:
            raise ServerStartError(program.name, f"{program.argv[0]}: {error.strerror}") from None

    def stop(self) -> None:
        """Let the program end in good order, insist after a while. Stopping what does not run is no error."""
        self._end(self.program.stop_signal)

    def kill(self) -> None:
        """End the program and its children at once, as a crash would."""
        self._end(signal.SIGKILL)

    def is_running(self) -> bool:
        """Whether the program runs."""
        return self.identity is not None and self.identity.is_alive()

    def _end(self, number: signal.Signals) -> None:
        if self._child is not None and number is signal.SIGKILL and self._child.poll() is None:
            os.killpg(self._child.pid, number)  # not waited for yet, so that its number cannot be another's
        if self.identity is not None:
            self.identity.end(number, grace_seconds=STOP_SECONDS)
        if self._child is not None:
            self._child.wait()
        self.identity = self._child = None
        for path in self.program.remains:
            path.unlink(missing_ok=True)

    def _await_ready(self, timeout_seconds: float) -> None:
        end = time.monotonic() + timeout_seconds
        while not self.program.is_ready():
            if self._child is not None and self._child.poll() is not None:
                raise ServerStartError(self.program.name, f"it ended with status {self._child.returncode}{self._tail()}")
            if time.monotonic() > end:
                raise ServerStartError(self.program.name, f"it is not ready after {timeout_seconds:.0f} s{self._tail()}")
            time.sleep(_POLL_SECONDS)

    def _tail(self) -> str:
        with self.program.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        last = [line.strip() for line in lines if line.strip()][-_TAIL_LINES:]
        return redact("; its log ends: " + " | ".join(last), self.program.secrets) if last else ""


def free_ports(count: int) -> tuple[int, ...]:
    """Ports on the loopback interface that nobody listens on, all different.

    Drawn below those that systems give to outgoing connections (32768 on Linux, 49152 elsewhere): one of these could be taken before
    the server has come to listen.
    """
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            each = socket.socket()
            try:
                each.bind((LOOPBACK, _DRAW.randrange(*_PORTS)))
            except OSError:  # somebody listens there
                each.close()
            else:
                sockets.append(each)
        return tuple(each.getsockname()[1] for each in sockets)
    finally:
        for each in sockets:
            each.close()


def _environment(program: Program) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # HOME: else the programs would read (MinIO: certificates) and write (SeaweedFS) settings of the user's own.
    return {**passed_on, "HOME": str(program.folder), "TMPDIR": str(program.folder), **program.environment}
