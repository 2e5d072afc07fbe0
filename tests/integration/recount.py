"""Counts table and bucket of docker-compose.yml by plain SQL and S3, without a line of the product's; in a container of the image.

docker compose run --rm --no-deps --entrypoint python rekey - <tests/integration/recount.py
"""

import hashlib
import os
from pathlib import Path

import psycopg
from minio import Minio


def setting(name: str) -> str:
    """What is set, or what its file holds."""
    return os.environ.get(name) or Path(os.environ[f"{name}_FILE"]).read_text(encoding="utf-8").strip()


store = Minio("minio:9000", setting("REKEY_S3_ACCESS_KEY"), setting("REKEY_S3_SECRET_KEY"), secure=False)
bucket = setting("REKEY_S3_BUCKET")
names = [str(each.object_name) for each in store.list_objects(bucket, recursive=True)]
objects = {name: hashlib.sha256(store.get_object(bucket, name).data).hexdigest() for name in names if not name.startswith(".rekey/")}
with psycopg.connect(setting("REKEY_DATABASE_URL")) as connection:
    rows = connection.execute("SELECT client_id, object_key, sha256 FROM assets").fetchall()
keys = {key for _, key, _ in rows}
counts = {
    "rows": len(rows),
    "rows at their new key": len([key for client, key, _ in rows if key.startswith(f"clients/{client}/assets/")]),
    "rows whose object is gone, or holds other bytes": len([key for _, key, digest in rows if objects.get(key) != digest]),
    "objects that no row names": len(objects.keys() - keys),
}
print("\n".join(f"{number:>5} {what}" for what, number in counts.items()))  # noqa: T201 - its output
