"""The store of the scale benchmark: the product's own probe takes it for what MinIO is, and its computed assets behave like objects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from app.errors import ConditionFailedError, MissingObjectError
from app.minio_store import MinioStore
from app.object_store import IfAbsent, ObjectAttributes, Seconds
from app.probe import probe
from tests.benchmarks.ground import CLIENTS, free_port, new_key, old_key, wait_for_port

ASSETS = 120
LEASE = Seconds(60.0)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A stub of its own process, as the benchmark has it."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.stub_store", "--port", str(port), "--assets", str(ASSETS)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        wait_for_port(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def store(endpoint: str) -> Iterator[MinioStore]:
    """The product's own client of it, as the probe leaves it."""
    made = MinioStore(endpoint=endpoint, access_key="a", secret_key="s" * 8, bucket="bench")
    made.capabilities = probe(made)
    yield made
    made.close()


def test_the_probe_sees_the_conditions_that_minio_honours(store: MinioStore) -> None:
    """Conditions of a PUT and of a copy's source, the end of a signature, ordered pages; not what MinIO ignores."""
    seen = store.capabilities
    assert seen.put_if_absent
    assert seen.copy_source_if_match
    assert seen.query_signed_expiry
    assert seen.ordered_listing
    assert not seen.copy_if_absent
    assert not seen.delete_if_match


def test_an_asset_is_moved_and_counted(store: MinioStore, endpoint: str) -> None:
    """Its copy is taken once, its old object goes, and the recount tells both."""
    old, new = old_key(57), new_key(57)
    read = store.read(old, max_bytes=10_000)
    assert read.body is not None
    written = store.put(new, read.body, ObjectAttributes(), condition=IfAbsent(), deadline=LEASE)
    assert written.etag == read.info.etag == store.stat(new).etag
    with pytest.raises(ConditionFailedError):
        store.put(new, read.body, ObjectAttributes(), condition=IfAbsent(), deadline=LEASE)
    assert store.delete([read.info], deadline=LEASE) == {old: None}
    with pytest.raises(MissingObjectError):
        store.stat(old)
    assert urllib3.request("GET", f"{endpoint}/recount").json() == {"old": ASSETS - 1, "new": 1}


def test_listings_show_what_is_there_from_any_place_in_order(store: MinioStore) -> None:
    """Pages of a client's folder and of the old keys, from a place between two keys."""
    body = store.read(old_key(8), max_bytes=10_000).body
    assert body is not None
    numbers = [8, 8 + CLIENTS, 8 + 2 * CLIENTS]
    for number in numbers:
        source = store.read(old_key(number), max_bytes=10_000).body
        assert source is not None
        store.put(new_key(number), source, ObjectAttributes(), condition=IfAbsent(), deadline=LEASE)
    page = store.list_page(prefix="clients/8/assets/", start_after="clients/8/assets/asset-0000000~~", limit=1)
    assert [info.key for info in page.objects] == [new_key(58)]
    assert page.truncated
    rest = store.list_page(prefix="clients/8/assets/", start_after=new_key(58))
    assert [info.key for info in rest.objects] == [new_key(108)]
    assert not rest.truncated
    first = store.list_page(prefix="", start_after=old_key(4), limit=2)
    assert [info.key for info in first.objects] == [old_key(5), old_key(6)]
