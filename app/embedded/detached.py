"""A stack that goes on without us: ``rekey dev up`` starts it, ``rekey dev down`` ends exactly what ``up`` started."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.embedded.place import Place
from app.embedded.process import ProcessIdentity
from app.embedded.server import STOP_SECONDS
from app.embedded.stack import make_database, start_broker, start_store
from app.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from app.embedded.broker import Broker
    from app.embedded.store import Store

_STATE = "state.json"
_LOCK = "lock"
_MARK = "of rekey dev\n"  # in the lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One server as the state file knows it; without an identity it was stopped, and its place waits for the next start."""

    place: Place
    identity: ProcessIdentity | None
    settings: Mapping[str, str] = field(repr=False)
    remains: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: dict[str, Any]) -> Part:
        """The part that *value*, out of the state file, describes."""
        place, identity = value["place"], value["identity"]
        return cls(
            place=Place(ports=tuple(place["ports"]), user=place["user"], secret=place["secret"]),
            identity=None if identity is None else ProcessIdentity(**identity),
            settings=value["settings"],
            remains=tuple(value["remains"]),
        )

    def is_running(self) -> bool:
        """Whether its very process runs."""
        return self.identity is not None and self.identity.is_alive()


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """What ``up`` leaves: the settings that name its servers, and which of them were started just now."""

    settings: Mapping[str, str] = field(repr=False)
    started: tuple[str, ...]


def default_folder() -> Path:
    """Where the stack of ``rekey dev`` lives unless told otherwise."""
    return Path.home() / ".local/state/asset-rekey/dev"


def up(folder: Path, *, broker_program: Path | None = None, store_program: Path | None = None) -> Up:
    """Start what does not run yet, at the places of last time where they are free. Safe to repeat.

    Raises:
        UsageError: A server program is missing, or *folder* holds other things.
        ServerStartError: A server did not start; what was started before it goes on and is known to ``down``.
    """
    folder = folder.absolute()
    _claim(folder)
    starters: Mapping[str, Callable[..., tuple[Broker | Store, Place]]] = {
        "broker": partial(start_broker, folder, program=broker_program, detached=True),
        "store": partial(start_store, folder, program=store_program, detached=True),
    }
    started = []
    with _locked(folder):
        parts = _read(folder)
        settings = {"REKEY_DATABASE_URL": f"sqlite:///{make_database(folder)}"}
        for name, start in starters.items():
            known = parts.get(name)
            if known is None or not known.is_running():
                made, place = start(place=None if known is None else known.place)
                remains = tuple(map(str, made.server.program.remains))
                parts[name] = Part(place=place, identity=made.server.identity, settings=made.settings, remains=remains)
                _write(folder, parts)  # at once, so that `down` finds it even if the next one fails
                started.append(name)
            settings.update(parts[name].settings)
    return Up(settings=settings, started=tuple(started))


def down(folder: Path) -> tuple[str, ...]:
    """End the servers that ``up`` started in *folder*, and no other process; gives the names of those that ran. Safe to repeat.

    Raises:
        UsageError: The state of *folder* is none of ours.
    """
    if not (folder / _STATE).exists():
        return ()
    _refuse_foreign(folder)
    stopped = []
    with _locked(folder):
        parts = _read(folder)
        for name, part in parts.items():
            if part.identity is not None and part.identity.end(grace_seconds=STOP_SECONDS):
                stopped.append(name)
            for path in part.remains:
                Path(path).unlink(missing_ok=True)
            parts[name] = replace(part, identity=None, remains=())
        _write(folder, parts)
    return tuple(stopped)


def _claim(folder: Path) -> None:
    """Make the folder, for its owner alone: the secrets of its servers are in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(folder)
        folder.chmod(0o700)
    except OSError as error:
        raise UsageError(f"{folder} cannot be used: {error.strerror}") from None


def _refuse_foreign(folder: Path) -> None:
    """Raise UsageError unless the folder is ours or empty: other programs have files of these names too."""
    names = {path.name for path in folder.iterdir()}  # before the mark is read, which is there before anything else is
    mark = _text(folder / _LOCK)
    if mark == _MARK or (mark == "" and names == {_LOCK}) or not names:
        return
    try:
        known = _read(folder)  # the lock of former versions was empty
    except (UsageError, OSError):
        known = {}
    if not known:
        raise UsageError(f"{folder} holds other things: name a folder for the servers alone")


def _text(path: Path) -> str | None:
    """What a small file of ours says; None for what is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep two commands on one folder apart; the lock goes with the process that holds it. It says whose the folder is, besides."""
    with (folder / _LOCK).open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if lock.seek(0, os.SEEK_END) == 0:  # whoever held it before may have written
            lock.write(_MARK)
            lock.flush()
        yield


def _read(folder: Path) -> dict[str, Part]:
    path = folder / _STATE
    if not path.exists():
        return {}
    try:
        return {name: Part.read(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} cannot be read: end its servers by hand, then remove {folder}") from None


def _write(folder: Path, parts: Mapping[str, Part]) -> None:
    """Replace the state file as a whole, so that a crash leaves the old one or the new one."""
    new = folder / f"{_STATE}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - Path.open takes no mode
        json.dump({name: asdict(part) for name, part in parts.items()}, file)
    new.replace(folder / _STATE)
