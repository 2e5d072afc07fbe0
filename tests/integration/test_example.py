"""The table and bucket of ``docker compose --profile demo``: filled where there is nothing, and nobody's own is touched."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from app.demo.example import fill
from app.errors import UsageError
from app.settings import Settings, load
from tests.acceptance.service import Bucket, Content

if TYPE_CHECKING:
    from tests.servers import S3Server


@pytest.fixture
def bucket(minio: S3Server) -> Bucket:
    """An empty bucket."""
    made = Bucket(minio, f"example-{secrets.token_hex(4)}")
    made.make()
    return made


def settings(url: str, minio: S3Server, bucket: Bucket) -> Settings:
    """As Compose gives them."""
    return load(
        {
            "database_url": url,
            "broker_url": "redis://nobody/0",
            "s3_endpoint": minio.endpoint,
            "s3_access_key": minio.access_key,
            "s3_secret_key": minio.secret_key,
            "s3_bucket": bucket.name,
            "table": "client_assets",
        }
    )


def rows(url: str) -> dict[int, str]:
    """The keys of the table."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT id, object_key FROM client_assets"))
        return {row.id: row.object_key for row in found}


def test_example_fills_an_empty_place_and_leaves_it_alone_the_next_time(minio: S3Server, bucket: Bucket, sqlite_url: str) -> None:
    """Each row names an object, and there are no others."""
    given = settings(sqlite_url, minio, bucket)

    assert "with 12 rows" in fill(given, count=12)
    before = bucket.versions()
    assert set(rows(sqlite_url).values()) == set(before)
    assert "is there: nothing was added" in fill(given, count=20)

    assert (len(rows(sqlite_url)), bucket.versions()) == (12, before)


def test_example_puts_nothing_into_a_bucket_that_has_objects(minio: S3Server, bucket: Bucket, sqlite_url: str) -> None:
    """They are somebody's, who has mistaken the table's name."""
    bucket.put("uploads/000001.txt", Content(body=b"mine", content_type="text/plain"))

    with pytest.raises(UsageError, match="has objects and there is no table client_assets"):
        fill(settings(sqlite_url, minio, bucket), count=3)

    assert bucket.keys() == {"uploads/000001.txt"}
    found = bucket.get("uploads/000001.txt")
    assert found is not None
    assert found.body == b"mine"


def test_example_says_in_one_line_that_the_store_does_not_answer(minio: S3Server, sqlite_url: str) -> None:
    """Nobody listens at the address."""
    given = settings(sqlite_url, minio, Bucket(minio, "assets")).model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})

    with pytest.raises(UsageError, match="the example could not be made") as refused:
        fill(given, count=1)

    assert "\n" not in str(refused.value)
