"""A service of SQLAlchemy and minio that serves assets and takes uploads.

Started by ``python -m tests.acceptance.services.sqlalchemy_service PORT``, with SERVICE_... in its environment.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from minio import Minio
from sqlalchemy import create_engine, text

from app.client.asset_rekey_client import read_asset, upload_key
from tests.acceptance.services import serving

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

engine = create_engine(serving.DATABASE_URL, pool_size=20, pool_recycle=60)
bucket = Minio(
    serving.ENDPOINT.partition("://")[2],
    access_key=serving.ACCESS_KEY,
    secret_key=serving.SECRET_KEY,
    secure=serving.ENDPOINT.startswith("https"),
    region="us-east-1",
)


def fetch(key: str) -> bytes:
    """An object, read to its end."""
    with bucket.get_object(serving.BUCKET, key) as response:
        return response.read()


def show(number: int) -> tuple[bytes, int]:
    """The object of a row, and how often the row was read for it."""
    reads = 0

    def read_key() -> str:
        nonlocal reads
        reads += 1
        with engine.begin() as connection:
            return connection.execute(text(f"SELECT object_key FROM {serving.TABLE} WHERE id = :id"), {"id": number}).scalar_one()

    late = serving.slowly(fetch, number)
    return (read_asset(read_key, late) if serving.CLIENT_FILE else late(read_key())), reads


def upload(number: int, client: int, name: str, body: bytes) -> str:
    """A new row with its object, under the new scheme from the start."""
    key = upload_key(client, name)
    # As a header of minio's own: nothing that was moved to this key meanwhile is overwritten.
    bucket.put_object(serving.BUCKET, key, io.BytesIO(body), len(body), metadata={"If-None-Match": "*"})
    with engine.begin() as connection:
        values = {"id": number, "client": client, "key": key, "title": name}
        connection.execute(
            text(f"INSERT INTO {serving.TABLE} (id, client_id, object_key, title) VALUES (:id, :client, :key, :title)"), values
        )
    return key


def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """``GET /assets/ID`` and ``POST /assets/ID/CLIENT/NAME``."""
    _, _, number, *rest = environ["PATH_INFO"].split("/")
    try:
        if rest:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            answer, reads = upload(int(number), int(rest[0]), rest[1], body).encode(), 0
        else:
            answer, reads = show(int(number))
    except Exception as error:  # noqa: BLE001 - a service answers, whatever it is
        start("500 Internal Server Error", [("Content-Type", "text/plain")])
        return [repr(error).encode()]
    start("200 OK", [("Content-Type", "application/octet-stream"), ("X-Row-Reads", str(reads))])
    return [answer]


if __name__ == "__main__":
    serving.serve(application)
