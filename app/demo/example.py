"""``python -m app.demo.example``: a table and a bucket to try the product on, where there are none yet (docker-compose.yml, "example").

It makes the table that the settings name, with rows for files of this Python, and their objects. It adds nothing to a table that is there,
and nothing to a bucket that has objects: those are somebody's.
"""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, exc, insert, inspect

from app.database import open_engine
from app.demo import files
from app.demo.service import TROUBLE, Asset, Bucket, in_words, old_key, upload
from app.demo.stock import pool
from app.errors import RekeyError, UsageError
from app.settings import load

if TYPE_CHECKING:
    from app.settings import Settings

ASSETS = 500


def main() -> int:
    """Do it, say what was done, and give the exit status."""
    try:
        sys.stdout.write(f"{fill(load())}\n")
    except RekeyError as error:
        sys.stderr.write(f"rekey: {error}\n")
        return 2
    return 0


def fill(settings: Settings, *, count: int = ASSETS) -> str:
    """Fill table and bucket, and say so, or why not.

    Raises:
        UsageError: The settings name what it cannot make, the bucket has objects, or database or store did not take them.
    """
    if len(settings.id_columns) > 1:
        raise UsageError("the example has a table with one id column: set REKEY_ID_COLUMN to one")
    engine = open_engine(settings.database_url.get_secret_value(), pool_size=1, may_create=True)
    bucket = Bucket(_place(settings), connections=8)
    try:
        with closing(bucket):
            table = _table(settings)
            if inspect(engine).has_table(table.name, schema=table.schema):
                return f"the table {settings.table} is there: nothing was added"
            if not bucket.is_empty():
                there = f"the bucket {settings.s3_bucket} has objects and there is no table {settings.table}"
                raise UsageError(f"{there}: nothing was added; name a table that is there, or a bucket that is empty")
            rows = _upload(bucket, settings, files.deal(files.find_own(), wanted=count))
            with engine.begin() as connection:  # last, and whole: a table that is there is a table with its objects
                table.create(connection)
                connection.execute(insert(table), rows)
    except (exc.SQLAlchemyError, *TROUBLE) as error:
        raise UsageError(f"the example could not be made: {in_words(error)}") from None
    finally:
        engine.dispose()
    return f"made the table {settings.table} with {len(rows)} rows, and their objects in the bucket {settings.s3_bucket}"


def _place(settings: Settings) -> dict[str, str]:
    return {
        "REKEY_S3_ENDPOINT": settings.s3_endpoint,
        "REKEY_S3_BUCKET": settings.s3_bucket,
        "REKEY_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "REKEY_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "REKEY_S3_REGION": settings.s3_region,
    }


def _table(settings: Settings) -> Table:
    schema, _, name = settings.table.rpartition(".")
    return Table(
        name,
        MetaData(),
        Column(settings.id_column, BigInteger, primary_key=True, autoincrement=False),
        Column(settings.client_column, BigInteger, nullable=False),
        Column(settings.name_column or "file_name", Text, nullable=False),
        Column(settings.key_column, Text, nullable=False, index=True),
        Column("sha256", Text, nullable=False),  # of the content, for whoever counts again
        schema=schema or None,
    )


def _upload(bucket: Bucket, settings: Settings, dealt: files.Dealt) -> list[dict[str, object]]:
    """Upload the files to keys by their number, and give the rows that name them."""

    def one(numbered: tuple[int, tuple[int, files.RealFile]]) -> dict[str, object]:
        number, (client, file) = numbered
        asset = Asset(id=number, client=client, name=file.name, first_key=old_key(number, file.name))
        upload(bucket, asset, file.path.read_bytes(), file.content_type, key=asset.first_key)
        return {
            settings.id_column: number,
            settings.client_column: client,
            settings.name_column or "file_name": file.name,
            settings.key_column: asset.first_key,
            "sha256": asset.newest.digest.hex(),
        }

    with pool() as threads:
        return list(threads.map(one, enumerate(dealt.assets, start=1)))


if __name__ == "__main__":
    sys.exit(main())
