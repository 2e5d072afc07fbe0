"""Rows and objects that cannot be moved: each is parked with its reason, the others move, nothing is lost (cases 2, 6, 30, 33)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.service import Content

if TYPE_CHECKING:
    from tests.acceptance.deployment import Deployment

FINDINGS = 3
GOOD = 20
PLAIN = Content(body=b"somebody's", content_type="text/plain")


@pytest.mark.timeout(400)
def test_rows_that_cannot_be_moved_are_parked_and_the_others_move(working: Deployment) -> None:
    """By old key: NULL, empty, blank, dots, absolute, climbing, over-long, without an object; by client; two rows for one new key."""
    service, named = working.service()
    assets = service.fill(GOOD)
    long_name = "\N{BENGALI LETTER KA}" * 90  # 270 bytes
    rows: list[tuple[int, int | None, str | None, str]] = [
        (101, 7, None, "bad_name"),
        (102, 7, "", "bad_name"),
        (103, 7, "   ", "bad_name"),
        (104, 7, ".", "bad_name"),
        (105, 7, "..", "bad_name"),
        (106, 7, "up/", "bad_name"),
        (107, 7, "a/b/..", "bad_name"),
        (108, None, "file-108.bin", "bad_name"),
        (109, 7, f"up/{long_name}", "too_long"),
        (110, 7, "x/" * 600 + "file.bin", "too_long"),
        (111, 7, "not-there.bin", "missing_source"),
        (112, 7, "up/taken.bin", "target_exists"),
        (113, 7, "up/twin.bin", "collision"),
    ]
    service.table.insert([{"id": number, "client_id": client, "object_key": key, "title": ""} for number, client, key, _ in rows])
    service.table.insert([{"id": 99, "client_id": 7, "object_key": "down/twin.bin", "title": ""}])
    service.upload(dict.fromkeys(("file-108.bin", "up/taken.bin", "up/twin.bin", "down/twin.bin", "clients/8/assets/logo.png"), PLAIN))
    foreign = Content(body=b"without a row", content_type="text/x-foreign")
    service.bucket.put("clients/7/assets/taken.bin", foreign)

    ended = working.rekey("enqueue", "--watch", "--json", seconds=300, **named)

    assert ended.status == FINDINGS, ended.err
    reasons = {reason: sum(1 for row in rows if row[3] == reason) for reason in {row[3] for row in rows}}
    assert ended.report["parked_reasons"] == reasons
    assert (ended.report["rows"], ended.report["deleted"], ended.report["parked"]) == (GOOD + len(rows) + 1, GOOD + 1, len(rows))
    named_now = service.table.keys()
    assert {number: named_now[number] for number, _, _, _ in rows} == {number: key for number, _, key, _ in rows}
    assert {asset.id: named_now[asset.id] for asset in assets} == {asset.id: asset.new_key for asset in assets}
    assert service.bucket.keys() == {asset.new_key for asset in assets} | {
        "file-108.bin",
        "up/taken.bin",
        "up/twin.bin",
        "clients/7/assets/twin.bin",
        "clients/7/assets/taken.bin",
        "clients/8/assets/logo.png",
    }
    assert service.bucket.get("clients/7/assets/taken.bin") == foreign
    assert [asset.id for asset in assets if service.bucket.get(asset.new_key) != asset.content] == []


@pytest.mark.timeout(400)
def test_odd_names_that_a_store_can_hold_arrive_byte_for_byte(working: Deployment) -> None:
    """Names that differ only by encoding, case or accents are different assets, each with its own new key (cases 1, 3, 4, 7)."""
    service, named = working.service()
    names = [
        "a b.txt",
        "a+b.txt",
        "a%20b.txt",
        "a%2Bb.txt",
        "100%.pdf",
        "Q#1?x=1&y=2~[é].txt",
        "e\N{COMBINING ACUTE ACCENT}.png",
        "\N{LATIN SMALL LETTER E WITH ACUTE}.png",
        "Logo.PNG",
        "logo.png",
        "<&>\"'.txt",
        "\N{SNOWMAN}\N{PILE OF POO}.txt",
        " leading and trailing ",
        "tab\there.txt",
        "n" * 255,
    ]
    contents = {f"up/{name}": Content(body=f"body of {name!r}".encode(), content_type="text/plain") for name in names}
    service.upload(contents)
    service.bucket.put("up/slash.png", PLAIN)
    keys = [*contents, "/up/slash.png"]
    service.table.insert([{"id": number, "client_id": 7, "object_key": key, "title": ""} for number, key in enumerate(keys)])

    ended = working.rekey("enqueue", "--watch", "--json", seconds=300, **named)

    assert ended.status == 0, (ended.err, ended.report)
    assert (ended.report["deleted"], ended.report["rows"]) == (len(keys), len(keys))
    moved = {f"clients/7/assets/{name}": contents[f"up/{name}"] for name in names} | {"clients/7/assets/slash.png": PLAIN}
    assert service.bucket.keys() == moved.keys()
    assert set(service.table.keys().values()) == moved.keys()
    assert [key for key, content in moved.items() if service.bucket.get(key) != content] == []


@pytest.mark.timeout(400)
def test_database_that_refuses_single_new_keys_parks_those_rows_only(working: Deployment) -> None:
    """UNIQUE, CHECK, a trigger that stores another key: the rest of the batch is switched (case 30, H11)."""
    service, named = working.service(more=", CONSTRAINT no_five CHECK (object_key NOT LIKE 'clients/%/file-5.bin')")
    assets = service.fill(GOOD)
    name = service.table.name
    service.table.run(
        f"CREATE FUNCTION {name}_lower() RETURNS trigger AS $$ BEGIN IF NEW.object_key LIKE 'clients/%/file-9.bin' THEN "
        "NEW.object_key := upper(NEW.object_key); END IF; RETURN NEW; END $$ LANGUAGE plpgsql"
    )
    service.table.run(f"CREATE TRIGGER {name}_lower BEFORE UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_lower()")

    ended = working.rekey("enqueue", "--watch", "--json", seconds=300, **named)

    assert ended.status == FINDINGS, ended.err
    assert ended.report["parked_reasons"] == {"rejected": 2}
    assert ended.report["deleted"] == GOOD - 2
    rows = service.table.keys()
    assert {number: rows[number] for number in (5, 9)} == {5: "file-5.bin", 9: "file-9.bin"}
    for asset in assets:
        assert service.bucket.get(rows[asset.id]) == asset.content
