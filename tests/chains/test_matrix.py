"""Store by attribute by path: each attribute goes each path on each store, and what arrives is what docs/fidelity.md says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.fidelity_rules import Attribute
from app.testing.versions import LIKE_AWS
from tests.chains import matrix
from tests.chains.bucket import Bucket
from tests.chains.conftest import made_name
from tests.chains.live import close_chain, open_chain, probed
from tests.chains.memory import open_memory_chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chains.live import Chain
    from tests.servers import S3Server

PAGE = Path(__file__).parents[2] / "docs" / "fidelity.md"
SETTINGS = {"fidelity": "all=warn", "on_collision": "suffix", "inline_bytes": matrix.SINGLE_BYTES, "name_column": "title"}
FIRST = {"single": 0, "multipart": 100, "suffix": 200}  # of the rows' numbers
BODIES = {"single": matrix.SMALL, "multipart": matrix.LARGE, "suffix": matrix.SMALL}


def _bucket(server: S3Server, name: str) -> Bucket:
    """With object lock, where objects have such a thing."""
    bucket = Bucket(server, made_name())
    locked = matrix.ARRIVES in matrix.FACTS[name][Attribute.LEGAL_HOLD]
    bucket.ask("PUT", None, headers={"x-amz-bucket-object-lock-enabled": "true"} if locked else {})
    return bucket


def _rows(chain: Chain, path: str) -> dict[Attribute, int]:
    """An object with each attribute, and its row; those of the path *suffix* want one name."""
    rows = {}
    for number, one in enumerate(matrix.ASKED, FIRST[path] + 1):
        key = f"up/{number}.png"
        matrix.upload(chain.bucket, key, one, BODIES[path])
        chain.world.add(number, key, body=None, title="same.png" if path == "suffix" else f"{number}.png")
        rows[one] = number
    return rows


def _told(chain: Chain, rows: dict[Attribute, int]) -> dict[Attribute, dict[str, str]]:
    named = chain.keys()
    return {one: matrix.shown(chain.of(named[number]), named[number], one) for one, number in rows.items()}


def _fate(before: dict[str, str], after: dict[str, str]) -> str:
    return matrix.NONE if not before else matrix.ARRIVES if after == before else matrix.LOST


def _seen(open_one: Callable[[bool], Chain]) -> dict[Attribute, tuple[str, ...]]:
    """One run in one bucket, by one request, by parts and with a suffix; its rollback; and one run into another bucket."""
    seen: dict[str, dict[Attribute, str]] = {}
    for split in (False, True):
        chain = open_one(split)
        if not split:
            chain.add(999, "up/first.png", b"has the name", title="same.png")
        paths = {path: _rows(chain, path) for path in (("single",) if split else FIRST)}
        before = {path: _told(chain, rows) for path, rows in paths.items()}
        chain.go()
        assert (chain.reasons(), [chain.get(key) for key in chain.keys().values() if not key.startswith("clients/")]) == ({}, [])
        for path, rows in paths.items():
            after = _told(chain, rows)
            seen["two buckets" if split else path] = {one: _fate(before[path][one], after[one]) for one in rows}
        if not split:
            parts = {number: chain.of(key).ask("HEAD", key).headers["etag"] for number, key in chain.keys().items()}
            assert {number for number, etag in parts.items() if "-" in etag} == set(paths["multipart"].values())
            assert all("same-" in chain.keys()[number] for number in list(paths["suffix"].values())[1:])
            chain.back()
            assert chain.reasons() == {}
            after = _told(chain, paths["single"])
            seen["rollback"] = {one: _fate(before["single"][one], after[one]) for one in after}
        close_chain(chain)
    return {one: tuple(seen[path][one] for path in matrix.PATHS) for one in matrix.ASKED}


@pytest.fixture(autouse=True)
def _parts_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.stages.writing.SINGLE_COPY_BYTES", matrix.SINGLE_BYTES)


@pytest.mark.parametrize("name", ["minio_with_keys", "seaweed", "versitygw"])
def test_each_attribute_goes_each_path(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """On real stores."""
    server: S3Server = request.getfixturevalue(name)
    buckets = [_bucket(server, name) for _ in range(3)]

    def open_one(split: bool) -> Chain:  # noqa: FBT001
        bucket, target = (buckets[1], buckets[2]) if split else (buckets[0], None)
        seen = probed(bucket, target)
        return open_chain(tmp_path / bucket.name, bucket, seen=seen, name=name, settings=SETTINGS, table=None, target=target)

    found = _seen(open_one)
    for bucket in buckets:
        bucket.close()

    assert found == {one: matrix.FACTS[name][one] for one in matrix.ASKED}


def test_each_attribute_goes_each_path_on_s3_as_it_is_documented(tmp_path: Path) -> None:
    """On a store in memory that behaves so."""
    found = _seen(lambda split: open_memory_chain(tmp_path / str(split), LIKE_AWS, settings=SETTINGS, split=split))

    assert found == {one: matrix.FACTS["memory"][one] for one in matrix.ASKED}


def test_matrix_in_the_docs_is_made_of_what_was_seen() -> None:
    """REWRITE_FIDELITY=1 makes it anew."""
    if os.environ.get("REWRITE_FIDELITY") == "1":
        PAGE.write_text(matrix.page(PAGE), encoding="utf-8")

    assert PAGE.read_text(encoding="utf-8") == matrix.page(PAGE)
