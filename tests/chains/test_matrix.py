"""Store by attribute by path: each attribute goes each path on each store, and what arrives is what docs/fidelity.md says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.fidelity_rules import Attribute
from tests.chains import matrix
from tests.chains.bucket import Bucket
from tests.chains.conftest import made_name
from tests.chains.live import close_chain, open_chain, probed

if TYPE_CHECKING:
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


@pytest.mark.parametrize("name", matrix.FACTS)
def test_each_attribute_goes_each_path(name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run in one bucket, by one request, by parts and with a suffix; its rollback; and one run into another bucket."""
    monkeypatch.setattr("app.stages.writing.SINGLE_COPY_BYTES", matrix.SINGLE_BYTES)
    server: S3Server = request.getfixturevalue(name)
    buckets = [_bucket(server, name) for _ in range(3)]
    seen: dict[str, dict[Attribute, str]] = {}
    for target in (None, buckets[2]):
        bucket = buckets[0] if target is None else buckets[1]
        folder = tmp_path / bucket.name
        chain = open_chain(folder, bucket, seen=probed(bucket, target), name=name, settings=SETTINGS, table=None, target=target)
        if target is None:
            chain.add(999, "up/first.png", b"has the name", title="same.png")
        paths = {path: _rows(chain, path) for path in (FIRST if target is None else ("single",))}
        before = {path: _told(chain, rows) for path, rows in paths.items()}
        chain.go()
        assert (chain.reasons(), [chain.get(key) for key in chain.keys().values() if not key.startswith("clients/")]) == ({}, [])
        for path, rows in paths.items():
            after = _told(chain, rows)
            seen[path if target is None else "two buckets"] = {one: _fate(before[path][one], after[one]) for one in rows}
        if target is None:
            parts = {number: chain.of(key).ask("HEAD", key).headers["etag"] for number, key in chain.keys().items()}
            assert {number for number, etag in parts.items() if "-" in etag} == set(paths["multipart"].values())
            assert all("same-" in chain.keys()[number] for number in list(paths["suffix"].values())[1:])
            chain.back()
            assert chain.reasons() == {}
            after = _told(chain, paths["single"])
            seen["rollback"] = {one: _fate(before["single"][one], after[one]) for one in after}
        close_chain(chain)
    for bucket in buckets:
        bucket.close()

    found = {one: tuple(seen[path][one] for path in matrix.PATHS) for one in matrix.ASKED}
    assert found == {one: matrix.FACTS[name][one] for one in matrix.ASKED}


def test_matrix_in_the_docs_is_made_of_what_was_seen() -> None:
    """REWRITE_FIDELITY=1 makes it anew."""
    if os.environ.get("REWRITE_FIDELITY") == "1":
        PAGE.write_text(matrix.page(PAGE), encoding="utf-8")

    assert PAGE.read_text(encoding="utf-8") == matrix.page(PAGE)
