"""What a plan says of objects on a real store, and that the run then parks just these."""

from __future__ import annotations

import zlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from app.plan import matching
from app.plan.making import Planner, make_plan
from app.run_settings import table_names
from tests.builders import make_settings
from tests.chains.bucket import Bucket
from tests.chains.conftest import made_name, seen_of
from tests.chains.live import close_chain, open_chain, probed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chains.live import Chain
    from tests.servers import S3Server

LARGE = b"x" * 1500  # goes by parts
HELD = {"x-amz-object-lock-legal-hold": "ON"}


def _planned(chain: Chain) -> dict[str, list[str]]:
    """The rows of each class, as the examples name them."""
    world = chain.world
    settings = make_settings(**world.settings)
    planner = Planner(
        engine=world.engine,
        names=table_names(settings),
        store=world.store,
        settings=settings,
        capabilities=world.store.capabilities,
        thorough=True,
    )
    content: dict[str, Any] = make_plan(planner, lambda _step, _done, _total: None).content
    return {one["class"]: [example["row"] for example in one["examples"]] for one in content["problems"] if one["class"] != "missing_index"}


def test_plan_names_what_is_locked_too_large_or_would_lose_something(
    minio: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On MinIO, whose parts have no checksum of the whole: that row is parked by the run too, and the others move."""
    monkeypatch.setattr(matching, "TOO_LARGE_BYTES", 2000)  # of 640 GB
    bucket = Bucket(minio, made_name())
    bucket.ask("PUT", None, headers={"x-amz-bucket-object-lock-enabled": "true"})
    chosen = {"inline_bytes": 1000, "fidelity": "checksum=keep"}
    chain = open_chain(tmp_path / "chain", bucket, seen=probed(bucket), name="minio", settings=chosen, table=None)
    whole = {"x-amz-checksum-crc32": b64encode(zlib.crc32(LARGE).to_bytes(4, "big")).decode()}
    for number, (body, headers) in enumerate([(b"x", {}), (LARGE, whole), (b"x", HELD), (LARGE * 2, {})], 1):
        bucket.put(f"up/{number}.png", body, headers)
        chain.world.add(number, f"up/{number}.png", body=None)
    chain.world.add(5, "up/5.png", body=None)

    planned = _planned(chain)
    chain.go()
    reasons, states = chain.reasons(), chain.world.states()
    close_chain(chain)
    bucket.close()

    assert planned.pop("etag") == ["[2]", "[4]"], "a remark: the ETags of what goes by parts may change"
    assert planned == {"fidelity": ["[2]"], "locked": ["[3]"], "too_large": ["[4]"], "missing_source": ["[5]"]}
    assert (reasons, states) == ({2: "fidelity", 5: "missing_source"}, {"parked": 2, "deleted": 3})


def test_plan_names_what_is_archived(seaweed: S3Server, tmp_path: Path) -> None:
    """SeaweedFS keeps any class that an upload names, and lists it."""
    bucket = Bucket(seaweed, made_name())
    bucket.ask("PUT", None)
    chain = open_chain(tmp_path / "chain", bucket, seen=seen_of("seaweed", bucket), name="seaweed", settings={}, table=None)
    for number, storage_class in enumerate(("STANDARD", "GLACIER", "STANDARD_IA", "DEEP_ARCHIVE"), 1):
        bucket.put(f"up/{number}.png", b"x", {"x-amz-storage-class": storage_class})
        chain.world.add(number, f"up/{number}.png", body=None)

    planned = _planned(chain)
    close_chain(chain)
    bucket.close()

    assert planned == {"archived": ["[2]", "[4]"]}
