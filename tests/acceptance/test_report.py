"""``rekey report`` after a run: every line of it against the service's own book and the bucket as it is (S8)."""

from __future__ import annotations

import csv
import getpass
import gzip
import io
import json
import socket
from collections import Counter
from hashlib import md5
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.service import Content
from tests.integration.browser import NO_NETWORK, browse
from tests.integration.nginx import ask, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.acceptance.service import Asset, Service
    from tests.servers import RedisServer, S3Server

FINDINGS, USAGE = 3, 2
ASSETS = 40
ODD = '=2+3,"x"; $y {z} %41 é.bin'
LOST, NAMELESS = 1001, 1002


def migrate(deployment: Deployment) -> tuple[Service, list[Asset], Mapping[str, str]]:
    """A run that has ended: most moved, one of an odd name, one without an object, one without a name."""
    service, named = deployment.service()
    assets = service.fill(ASSETS)
    service.bucket.put(f"up/{ODD}", Content(body=b"odd", content_type="text/plain"))
    keys = {1000: f"up/{ODD}", LOST: "up/lost.bin", NAMELESS: ".."}
    service.table.insert([{"id": number, "client_id": 7, "object_key": key, "title": ""} for number, key in keys.items()])
    ended = deployment.rekey("enqueue", "--watch", "--json", seconds=300, **named)
    assert ended.status == FINDINGS, ended.err
    return service, assets, named


def recounted(service: Service, assets: list[Asset]) -> dict[int, tuple[str, str, str, str, str, int | None]]:
    """What a report must say of each row, from the service's book and the bucket: outcome, reason, keys, ETag, size."""
    found: dict[int, tuple[str, str, str, str, str, int | None]] = {
        asset.id: ("deleted", "", asset.old_key, asset.new_key, _etag(asset.content.body), len(asset.content.body)) for asset in assets
    }
    found[1000] = ("deleted", "", f"up/{ODD}", f"clients/7/assets/{ODD}", _etag(b"odd"), 3)
    found[LOST] = ("parked", "missing_source", "up/lost.bin", "clients/7/assets/lost.bin", "", None)
    found[NAMELESS] = ("parked", "bad_name", "..", "", "", None)
    objects = service.bucket.keys()
    assert objects == {line[3] for line in found.values() if line[0] == "deleted"}
    assert service.table.keys() == {number: line[3] if line[0] == "deleted" else line[2] for number, line in found.items()}
    return found


def check(deployment: Deployment, folder: Path) -> None:
    """Run, report in every form, count again."""
    service, assets, named = migrate(deployment)
    book = recounted(service, assets)
    text = deployment.rekey("report", **named)
    packed = folder / "moves.jsonl.gz"
    to_file = deployment.rekey("report", "--format", "jsonl", "--gzip", "--output", str(packed), **named)
    to_bucket = deployment.rekey("report", "--outcome", "parked", "--to-bucket", "parked.csv", "--json", **named)
    again = deployment.rekey("report", "--to-bucket", "parked.csv", **named)
    head = deployment.rekey("report", "--json", **named).report
    links = deployment.rekey("report", "--redirects", "csv", "--prefix", "https://cdn.example/", **named)
    html = deployment.rekey("report", "--html", **named)
    page = deployment.rekey("report", "--html", "--output", str(folder / "page.html"), **named)
    nginx = deployment.rekey("report", "--redirects", "nginx", "--prefix", "/media/", "--output", str(folder / "rekey.map"), **named)

    assert (text.status, to_file.status, to_bucket.status) == (0, 0, 0), (text.err, to_file.err, to_bucket.err)
    lines = list(csv.DictReader(io.StringIO(text.out, newline=""), strict=True))
    assert {int(line["row_id"]): _said(line) for line in lines} == book
    assert Counter(line["outcome"] for line in lines) == {"deleted": head["deleted"], "parked": head["parked"]}
    assert len(lines) == head["rows"] == len(book)
    json_lines = [json.loads(line) for line in gzip.decompress(packed.read_bytes()).splitlines()]
    assert {line["row_id"][0]: _said(line) for line in json_lines} == book
    assert all(line["source_modified"] <= line["copied_at"] for line in json_lines if line["outcome"] == "deleted")
    assert all(line["switched_at"] < line["delete_sent_at"] <= line["updated_at"] for line in json_lines if line["outcome"] == "deleted")
    key = f".rekey/reports/{head['run']}/parked.csv"
    assert (to_bucket.report["written"]["to"], to_bucket.report["written"]["assets"]) == (key, 2)
    stored = service.bucket.get(key)
    assert stored is not None
    assert stored.content_type == "text/csv; charset=utf-8"
    assert {line["row_id"] for line in csv.DictReader(io.StringIO(stored.body.decode()))} == {str(LOST), str(NAMELESS)}
    led = [(unquote(old), unquote(new)) for old, new in csv.reader(links.out.splitlines()[1:])]
    prefix = "https://cdn.example/"
    assert sorted(led) == sorted((prefix + line[2], prefix + line[3]) for line in book.values() if line[0] == "deleted")
    assert all(f"<b>{head[name]:,}</b><span>{name}</span>" in html.out for name in ("rows", "copied", "renamed", "deleted", "parked"))
    assert head["started_by"] in html.out
    assert (page.status, nginx.status) == (0, 0), (page.err, nginx.err)
    seen = browse(folder, "--dump-dom", *NO_NETWORK, f"file://{folder}/page.html")
    assert all(
        words in seen for words in (f"Run {head['run'][:8]}", "Rate over time", "Parked by reason", "missing source", "Slowest clients")
    )
    with serving(folder) as port:
        led_to = {line[2]: ask(port, quote(f"/media/{line[2]}")) for line in book.values() if line[2] != ".."}
    assert led_to == {
        line[2]: (301, quote(f"/media/{line[3]}")) if line[0] == "deleted" else (404, None) for line in book.values() if line[2] != ".."
    }
    assert again.status == USAGE
    assert "already" in again.complaint
    assert head["started_by"] == f"{getpass.getuser()}@{socket.gethostname()}"
    assert head["version"] == version("asset-rekey")
    assert head["settings"]["table"] == service.table.name
    for secret in (deployment.store.access_key, deployment.store.secret_key):
        assert secret not in json.dumps(head) + text.out + html.out


def _etag(body: bytes) -> str:
    return md5(body, usedforsecurity=False).hexdigest()


def _said(line: Mapping[str, Any]) -> tuple[str, str, str, str, str, int | None]:
    size = line["source_size"]
    assert (line["copy_etag"], line["copy_size"]) == (line["source_etag"], size)
    old, new = (str(line[name]).removeprefix("'") for name in ("old_key", "new_key"))
    return line["outcome"], line["reason"] or "", old, new, line["source_etag"] or "", None if size in {"", None} else int(size)


@pytest.mark.timeout(400)
def test_report_equals_a_recount_on_postgresql_and_minio(working: Deployment, tmp_path: Path) -> None:
    """In CSV, in JSON Lines, in a file, in the bucket."""
    check(working, tmp_path)


@pytest.fixture
def embedded(seaweed: S3Server, redis_server: RedisServer, tmp_path: Path) -> Iterator[Deployment]:
    """What `rekey dev up` gives: SQLite and the embedded S3 server, with their workers."""
    url = f"sqlite:///{tmp_path}/assets.db"
    made = Deployment(database_url=url, broker_url=redis_server.url, store=seaweed, folder=tmp_path)
    assert made.rekey("init").status == 0
    with made.workers():
        yield made


@pytest.mark.timeout(400)
def test_report_equals_a_recount_on_the_embedded_servers(embedded: Deployment, tmp_path: Path) -> None:
    """SQLite and SeaweedFS."""
    check(embedded, tmp_path)
