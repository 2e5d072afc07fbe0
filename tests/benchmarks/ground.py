"""The servers that both contenders work on, and what lies in them: a bucket of objects, a table of rows, and the recount afterwards."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psycopg
import urllib3
from minio import Minio

from app.object_store import MIN_PART_BYTES
from app.schema import metadata
from tests.benchmarks import cpu

ACCESS, SECRET = "benchmark", "benchmark-secret"
TABLE = "client_assets"
CLIENTS = 50
WRITERS = 16
LARGE = 256 * 1024**2  # bytes of bodies that are in memory at once, about
START_SECONDS = 30.0
DELAY = Path(__file__).with_name("delay.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The servers: their addresses and their processes."""

    minio: str  # host:port
    redis: str
    postgres: str
    pids: dict[str, int]  # server, database, broker, and the delay if there is one
    endpoint: str  # host:port at which contenders meet the store: MinIO's own, or that of the delay before it

    @property
    def dsn(self) -> str:
        """The database of the table."""
        return f"postgresql://postgres@{self.postgres}/postgres"

    def client(self) -> Minio:
        """A client of MinIO's own."""
        pool = urllib3.PoolManager(maxsize=WRITERS, retries=False)
        return Minio(self.minio, ACCESS, SECRET, secure=False, http_client=pool)

    def requests(self) -> dict[str, int]:
        """Requests so far by their kind, as MinIO counts them; it renews the counts every few seconds."""
        answer = urllib3.request("GET", f"http://{self.minio}/minio/v2/metrics/node")
        found = re.findall(r'^minio_s3_requests_total\{api="(\w+)".*\} (\S+)$', answer.data.decode(), re.MULTILINE)
        return {name: int(float(count)) for name, count in found}

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far of each server."""
        return {name: cpu.cpu_seconds(pid) for name, pid in self.pids.items()}


def find_program(*names: str) -> str | None:
    """The first of *names* that is on the PATH or in one of the usual places."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "asset-rekey" / "bin"
    places = [*os.environ["PATH"].split(os.pathsep), str(cache), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    for name in names:
        found = shutil.which(name, path=os.pathsep.join(places))
        if found:
            return found
    return None


def program(*names: str) -> str:
    """The same, without which there is no benchmark."""
    found = find_program(*names)
    if found is None:
        sys.exit(f"benchmark: {' or '.join(names)} is not installed")
    return found


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def servers(folder: Path, *, delay_ms: float = 0) -> Iterator[Ground]:
    """MinIO, PostgreSQL and Redis with their data below *folder*, stopped at the end; contenders meet MinIO *delay_ms* away."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("benchmark: stopped"))  # so that nothing is left running
    ports = {name: free_port() for name in ("minio", "console", "redis", "postgres", "delay")}
    with ExitStack() as stack:
        minio = start(
            stack,
            [
                program("minio"),
                "server",
                "--quiet",
                "--address",
                f"127.0.0.1:{ports['minio']}",
                "--console-address",
                f"127.0.0.1:{ports['console']}",
                str(folder / "minio"),
            ],
            ports["minio"],
            environ={
                "MINIO_ROOT_USER": ACCESS,
                "MINIO_ROOT_PASSWORD": SECRET,
                "MINIO_BROWSER": "off",
                "MINIO_PROMETHEUS_AUTH_TYPE": "public",
            },
        )
        redis = start_redis(stack, folder, ports["redis"])
        postgres = start_postgres(stack, folder / "postgres", ports["postgres"])
        pids = {"server": minio, "database": postgres, "broker": redis}
        addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        if delay_ms:
            command = [sys.executable, str(DELAY), "--listen", str(ports["delay"]), "--to", addresses["minio"], "--ms", str(delay_ms)]
            pids["delay"] = start(stack, command, ports["delay"])
        yield Ground(
            minio=addresses["minio"],
            redis=addresses["redis"],
            postgres=addresses["postgres"],
            pids=pids,
            endpoint=addresses["delay" if delay_ms else "minio"],
        )


def start_redis(stack: ExitStack, folder: Path, port: int) -> int:
    """Redis on *port*, until the stack ends; gives its process id."""
    command = [program("redis-server", "valkey-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return start(stack, command, port)


def start_postgres(stack: ExitStack, data: Path, port: int, *options: str) -> int:
    """PostgreSQL on *port* with its data in *data*, until the stack ends; gives its process id."""
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    data.mkdir()
    if user:
        shutil.chown(data, user)
    bare = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    initdb = [program("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(
        initdb, check=True, stdout=subprocess.DEVNULL, user=user, group=user, extra_groups=[] if user else None, env=bare, cwd=data
    )
    return start(
        stack,
        [program("postgres"), "-D", str(data), "-p", str(port), "-k", str(data), "-c", "listen_addresses=127.0.0.1", *options],
        port,
        user=user,
        environ=bare,
        stop=signal.SIGINT,
    )


def start(
    stack: ExitStack,
    command: Sequence[str],
    port: int,
    *,
    environ: dict[str, str] | None = None,
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> int:
    """A server that listens on *port*, until the stack ends; gives its process id."""
    extra = {"user": user, "group": user, "extra_groups": []} if user else {}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(environ or {})}, cwd="/", **extra
    )

    def end() -> None:
        process.send_signal(stop)
        process.wait(timeout=START_SECONDS)

    stack.callback(end)
    wait_for_port(process, port)
    return process.pid


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    """Come back when *process* listens; exit where it does not."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"benchmark: {process.args} did not start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One turn's bucket and rows: made, recounted and cleared away."""

    ground: Ground
    bucket: str
    assets: int
    size: int
    part_size: int = 0  # 0: uploaded by one PUT

    def prepare(self) -> None:
        """Make the bucket with its objects and the table with its rows, none of the ledger's tables."""
        client = self.ground.client()
        client.make_bucket(self.bucket)
        random = Random(self.bucket)
        bodies = [random.randbytes(self.size) for _ in range(max(2, min(64, LARGE // self.size)))]
        part_size = self.part_size or max(self.size, MIN_PART_BYTES)

        def put(number: int) -> None:
            body = bodies[number % len(bodies)]
            client.put_object(
                self.bucket,
                old_key(number),
                io.BytesIO(body),
                len(body),
                content_type="image/png",
                part_size=part_size,
                num_parallel_uploads=1,
            )

        with ThreadPoolExecutor(max(2, min(WRITERS, LARGE // self.size))) as writers:
            list(writers.map(put, range(self.assets)))
        make_rows(self.ground.dsn, self.assets)

    def recount(self, *, rows: bool = True) -> None:
        """Exit unless the bucket holds exactly the objects of the new keys, and each row names its own, where *rows* were switched."""
        wanted = {new_key(number) for number in range(self.assets)}
        with psycopg.connect(self.ground.dsn) as connection:
            named = [name for (name,) in connection.execute(f"SELECT asset_name FROM {TABLE}")]
        there = {info.object_name for info in self.ground.client().list_objects(self.bucket, recursive=True)}
        there = {name for name in there if name and not name.startswith(".rekey/")}
        if rows and (set(named) != wanted or len(named) != self.assets):
            sys.exit(f"benchmark: {len(wanted.symmetric_difference(named))} rows do not name their new key")
        if there != wanted:
            sys.exit(f"benchmark: {len(there - wanted)} objects too many, {len(wanted - there)} too few")

    def clear(self) -> None:
        """Remove the bucket, so that a later turn finds the store as the first one did."""
        client = self.ground.client()
        names = [info.object_name for info in client.list_objects(self.bucket, recursive=True)]
        with ThreadPoolExecutor(WRITERS) as removers:
            list(removers.map(lambda name: client.remove_object(self.bucket, name), names))
        client.remove_bucket(self.bucket)


def make_rows(dsn: str, assets: int) -> None:
    """The table with its rows, and none of the ledger's tables."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in (TABLE, *metadata.tables):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, client_id text NOT NULL, asset_name text NOT NULL)")
        with connection.cursor() as cursor, cursor.copy(f"COPY {TABLE} FROM STDIN") as copy:
            for number in range(assets):
                copy.write_row((number + 1, str(number % CLIENTS), old_key(number)))
        connection.execute(f"CREATE INDEX {TABLE}_name ON {TABLE} (asset_name)")
        connection.execute(f"VACUUM ANALYZE {TABLE}")
        connection.execute("CHECKPOINT")


def old_key(number: int) -> str:
    """The key that an asset starts with."""
    return f"asset-{number:08d}.png"


def new_key(number: int) -> str:
    """The key that it must end with."""
    return f"clients/{number % CLIENTS}/assets/{old_key(number)}"
