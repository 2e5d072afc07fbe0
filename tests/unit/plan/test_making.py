"""A whole plan over a table in SQLite and a bucket in memory: every class is found, and nothing is changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from app.assets import AssetRow, Assets
from app.errors import DatabaseUnavailableError, DeniedError, EncryptedError, ObjectError
from app.fidelity_rules import Attribute
from app.key_suffix import suffix_of
from app.object_store import ListedPage, ObjectAttributes, ObjectInfo, ReadObject
from app.plan import bucket, entries, looking, matching, patience, scanning
from app.plan.making import Made, Planner, make_plan
from app.run_settings import table_names
from app.testing import Behaviour, Fault, FixedDeadline, InMemoryStore
from app.testing.versions import ACLS, CONDITIONAL, LIKE_AWS, LIKE_MINIO
from tests.builders import ASSETS, World, make_settings

TREE = dataclasses.replace(CONDITIONAL, ordered_listing=False)  # lists folder by folder, as SeaweedFS does


@pytest.fixture(params=[CONDITIONAL, LIKE_MINIO, TREE], ids=["conditional", "like-minio", "tree"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """A table and a bucket on each kind of store."""
    return World(tmp_path, behaviour=request.param)


def plan(world: World, *, probed: bool = True, thorough: bool = False, sample: int = looking.SAMPLE_OBJECTS, **settings: Any) -> Made:  # noqa: ANN401 - any setting
    """The plan of the world's table."""
    chosen = make_settings(**{**world.settings, **settings})
    planner = Planner(
        engine=world.engine,
        names=table_names(chosen),
        store=world.store,
        settings=chosen,
        capabilities=world.store.capabilities if probed else None,
        thorough=thorough,
        sample=sample,
    )
    return make_plan(planner, lambda _step, _done, _total: None)


def problems(made: Made) -> dict[str, int]:
    """Rows by class; all tables here lack an index on the key column."""
    return {problem["class"]: problem["rows"] for problem in made.content["problems"] if problem["class"] != "missing_index"}


def problem(made: Made, kind: str) -> Mapping[str, Any]:
    """One class."""
    (found,) = [one for one in made.content["problems"] if one["class"] == kind]
    return found  # type: ignore[no-any-return]


def test_plan_of_a_clean_table_has_counts_and_no_problem(world: World) -> None:
    """Rows, bytes, objects without a row, and samples of what becomes of keys."""
    world.sql("CREATE INDEX k ON assets (object_key)")
    for number in range(1, 8):
        world.add(number, body=b"12345")
    world.store.app_put("stray", b"")
    world.store.app_put(".rekey/journal/1", b"our own")
    made = plan(world)

    content = made.content
    assert (content["rows"], content["to_move"], content["would_park"], content["bytes"]) == (7, 7, 0, 35)
    assert (content["problems"], content["found"]) == ([], False)
    assert content["samples"][0] == {"row": "[1]", "old_key": "up/1.png", "new_key": "clients/7/assets/1.png"}
    expected = (8, 1) if world.behaviour.ordered_listing else (None, None)
    assert (content["bucket_objects"], content["objects_without_row"]) == expected


def test_plan_changes_nothing_in_bucket_and_table(world: World) -> None:
    """Only requests that read, and the rows as they were."""
    for number in range(1, 5):
        world.add(number)
    before = (world.sql("SELECT * FROM assets ORDER BY id"), world.store.contents())
    plan(world)
    plan(world, probed=False)

    assert world.writes() == []
    assert (world.sql("SELECT * FROM assets ORDER BY id"), world.store.contents()) == before
    assert world.sql("SELECT COUNT(*) FROM rekey_moves")[0][0] == 0


@pytest.mark.parametrize(("behaviour", "acls"), [(LIKE_AWS, 3), (dataclasses.replace(LIKE_AWS, refuses=LIKE_AWS.refuses | ACLS), 0)])
def test_plan_counts_the_requests_that_attributes_cost(tmp_path: Path, behaviour: Behaviour, acls: int) -> None:
    """A GET a copy where the bucket has ACLs; the HEAD stands in for a look, which is one too where keys are few."""
    world = World(tmp_path, behaviour=behaviour)
    for number in range(1, 4):
        world.add(number)
    counted, unprobed = plan(world).content["requests"], plan(world, probed=False, copy="server").content["requests"]

    assert (counted["GET"], counted["HEAD"]) == (acls, unprobed["HEAD"])


def test_missing_source_is_found_with_its_keys(world: World) -> None:
    """Each example names the row, both keys and what is wrong."""
    world.add(1)
    world.add(2, body=None)
    made = plan(world)

    assert problems(made) == {"missing_source": 1}
    assert problem(made, "missing_source")["examples"] == [
        {"row": "[2]", "old_key": "up/2.png", "new_key": "clients/7/assets/2.png", "detail": "no object 'up/2.png'"}
    ]
    assert (made.content["to_move"], made.content["would_park"], made.content["found"]) == (1, 1, True)


def test_row_in_place_is_counted_and_is_no_finding(world: World) -> None:
    """A second run has nothing to do, and its plan says so."""
    world.sql("CREATE INDEX k ON assets (object_key)")
    world.add(1, "clients/7/assets/a.png")
    made = plan(world)

    assert problems(made) == {"in_place": 1}
    assert (made.content["in_place"], made.content["to_move"], made.content["found"]) == (1, 0, False)


def test_row_in_place_without_its_object_is_a_missing_source(world: World) -> None:
    """It is not counted as in place (H33)."""
    world.add(1, "clients/7/assets/a.png", body=None)

    assert problems(plan(world)) == {"missing_source": 1}


def test_collision_counts_all_rows_but_the_first(world: World) -> None:
    """Three rows get one new key: the seed parks two of them (case 30)."""
    for number, folder in enumerate("abc", start=1):
        world.add(number, f"{folder}/logo.png")
    made = plan(world)

    assert problems(made) == {"collision": 2}
    assert [example["row"] for example in problem(made, "collision")["examples"]] == ["[2]", "[3]"]
    assert made.content["to_move"] == 1


def test_suffixes_are_shown_with_their_keys(world: World) -> None:
    """What the run would give them; only the first has the plain name."""
    for number, folder in enumerate("abc", start=1):
        world.add(number, f"{folder}/logo.png")
    made = plan(world, on_collision="suffix")
    own = [
        f"clients/7/assets/logo-{suffix_of('assets', f'[{number}]', f'{folder}/logo.png')}.png" for number, folder in ((2, "b"), (3, "c"))
    ]

    assert problems(made) == {"suffixed": 2}
    assert [example["new_key"] for example in problem(made, "suffixed")["examples"]] == own
    assert [sample["new_key"] for sample in made.content["samples"]] == ["clients/7/assets/logo.png", *own]
    assert (made.content["to_move"], made.content["would_park"]) == (3, 0)


def test_row_whose_name_a_row_in_place_has_gets_a_suffix(world: World) -> None:
    """And so does one whose name a row has that cannot be moved itself."""
    world.add(1, "clients/7/assets/1.png")
    world.add(2, "up/1.png")
    world.add(3, "up/3.png")
    world.add(4, "clients/7/assets/3.png", client=None)

    assert problems(plan(world, on_collision="suffix")) == {"bad_name": 1, "in_place": 1, "suffixed": 2}


def test_what_is_at_the_key_with_the_suffix_is_found(world: World) -> None:
    """It would not be overwritten: the row would be parked."""
    for number in (1, 2):
        world.add(number, f"up/{number}/logo.png")
    key = f"clients/7/assets/logo-{suffix_of('assets', '[2]', 'up/2/logo.png')}.png"
    world.store.app_put(key, b"someone else's")
    made = plan(world, on_collision="suffix")

    assert problems(made) == {"target_exists": 1}
    assert problem(made, "target_exists")["examples"][0]["new_key"] == key
    assert made.content["to_move"] == 1


def test_foreign_object_at_the_plain_key_gives_no_suffix(world: World) -> None:
    """As in a run."""
    world.add(1)
    world.store.app_put("clients/7/assets/1.png", b"someone else's")

    assert problems(plan(world, on_collision="suffix")) == {"target_exists": 1}


def test_row_without_room_for_a_suffix_is_a_collision(tmp_path: Path) -> None:
    """The key column takes the plain key and no more."""
    world = World(tmp_path, table=ASSETS.replace("object_key TEXT", "object_key VARCHAR(22)"))
    for number in (1, 2):
        world.add(number, f"up/{number}/1.png")

    assert problems(plan(world, on_collision="suffix")) == {"collision": 1}


def test_more_suffixes_than_a_page_are_all_planned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read from the temporary file a page at a time."""
    monkeypatch.setattr(entries, "ROWS_A_PAGE", 2)
    monkeypatch.setattr(matching, "PARK_AT", 2)
    for number in range(1, 9):
        world.add(number, f"up/{number}/logo.png")

    assert problems(plan(world, on_collision="suffix")) == {"suffixed": 7}


def test_names_that_differ_in_case_collide_only_where_the_store_folds_it(tmp_path: Path) -> None:
    """What counts is the store's idea of one object (H6)."""
    for folds in (False, True):
        folder = tmp_path / str(folds)
        folder.mkdir()
        world = World(folder, behaviour=dataclasses.replace(CONDITIONAL, folds_case=folds, ordered_listing=not folds))
        world.add(1, "a/Logo.png")
        world.add(2, "b/logo.png")

        assert problems(plan(world)) == ({"collision": 1} if folds else {})
        assert problems(plan(world, probed=False)) == ({"collision": 1} if folds else {})


def test_foreign_object_at_a_new_key_is_found(world: World) -> None:
    """It would not be overwritten, so the row would be parked."""
    world.add(1)
    world.store.app_put("clients/7/assets/1.png", b"someone else's")
    made = plan(world)

    assert problems(made) == {"target_exists": 1}
    assert "14 bytes" in problem(made, "target_exists")["examples"][0]["detail"]


def test_new_key_that_another_row_names_is_a_foreign_target(world: World) -> None:
    """A row counts as an object there (S3), even one that cannot be moved itself."""
    world.add(1)
    world.add(2, "clients/7/assets/1.png", client=None)
    made = plan(world)

    assert problems(made) == {"bad_name": 1, "target_exists": 1}


def test_new_key_that_is_the_old_key_of_another_row_waits_for_it(world: World) -> None:
    """Such a chain is moved, the last link first (H19)."""
    world.add(1, "clients/8/assets/b.png", client=7)
    world.add(2, "up/b.png", client=8)
    made = plan(world)

    assert problems(made) == {}
    assert (made.content["waiting"], made.content["to_move"]) == (1, 2)


def test_shared_object_is_found_with_all_who_name_it(world: World) -> None:
    """Rows to be moved, in place, and not movable all count as namers; each mover still gets its copy."""
    world.add(1, "up/a.png", client=7)
    world.add(2, "up/a.png", client=8, body=None)
    world.add(3, "up/c.png")
    made = plan(world)

    assert problems(made) == {"shared": 2}
    assert made.content["to_move"] == 3
    assert made.content["bytes"] == 6


@pytest.mark.parametrize("where", ["id < 3", "id < 3 AND title IS NULL"])
def test_row_outside_where_and_references_count_as_namers(world: World, where: str) -> None:
    """The condition limits what is moved, not who is asked (H20), NULL conditions included."""
    world.sql("CREATE TABLE thumbs (id INTEGER PRIMARY KEY, k TEXT)")
    world.sql("CREATE TABLE bare (k TEXT)")
    world.add(1)
    world.add(2)
    world.add(3, "up/1.png", body=None)
    world.add(4, "clients/7/assets/2.png")
    world.sql("INSERT INTO thumbs VALUES (1, 'up/2.png'), (2, NULL)")
    world.sql("INSERT INTO bare VALUES ('up/2.png'), ('up/2.png'), (NULL)")
    made = plan(world, where=where, references=("thumbs.k", "bare.k"))

    assert made.content["rows"] == 2
    assert problems(made) == {"target_exists": 1, "shared": 2}


def test_odd_and_long_names_are_found(world: World) -> None:
    """With the planner's own words."""
    world.add(1, "up/..", body=None)
    world.add(2, "x" * 300, body=None)
    world.add(3)
    world.sql("UPDATE assets SET object_key = NULL WHERE id = 3")
    made = plan(world)

    found = problems(made)
    assert (found["bad_name"], found["too_long"]) == (2, 1)
    assert made.content["would_park"] == 3


def test_row_without_an_id_is_found(tmp_path: Path) -> None:
    """SQLite takes a primary key that is NULL; no page shows such a row."""
    world = World(tmp_path, table="CREATE TABLE assets (id TEXT PRIMARY KEY, client_id INTEGER, object_key TEXT)")
    world.sql("INSERT INTO assets VALUES (NULL, 7, 'up/a.png')")

    made = plan(world)

    assert problems(made) == {"nameless": 1}
    assert made.fingerprint["rows"] == 1  # as it is counted again before a run


def test_new_key_beyond_the_column_is_found(tmp_path: Path) -> None:
    """PostgreSQL would refuse it, lax MySQL cut it (H11)."""
    world = World(tmp_path, table="CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key VARCHAR(20))")
    world.add(1)

    assert problems(plan(world)) == {"rejected": 1}


def test_missing_index_comes_with_the_statement_that_mends_it(world: World) -> None:
    """As doctor prints it."""
    world.add(1)
    made = plan(world)

    (example,) = problem(made, "missing_index")["examples"]
    assert example["statement"] == "CREATE INDEX assets_object_key_rekey ON assets (object_key);"
    world.sql(example["statement"])
    assert plan(world).content["found"] is False


def test_archived_object_is_told_by_the_listing(tmp_path: Path) -> None:
    """No request of its own is needed."""
    world = World(tmp_path)
    world.add(1)
    world.store.app_put("up/2.png", b"v", {"x-amz-storage-class": "GLACIER"})
    world.add(2, body=None)
    made = plan(world)

    assert problems(made) == {"archived": 1}
    assert (made.content["looked"]["heads"], made.content["bytes"]) == (0, 2)


def test_object_too_large_for_parts_of_the_usual_size_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above 10,000 parts of 64 MiB."""
    monkeypatch.setattr("app.plan.matching.TOO_LARGE_BYTES", 3)
    world.add(1, body=b"1234")
    made = plan(world, inline_bytes=2)

    assert problems(made) == ({"too_large": 1, "etag": 1} if not world.behaviour.copy_if_absent else {})


def locked(world: World, numbers: range) -> None:
    """Put objects under a legal hold."""
    for number in numbers:
        world.store.app_put(f"up/{number}.png", b"v1", {"x-amz-object-lock-legal-hold": "ON"})


def test_etags_that_may_change_are_a_remark_and_no_finding(world: World) -> None:
    """In parts and copied by one request, or the other way round (case 11)."""
    world.sql("CREATE INDEX k ON assets (object_key)")
    world.add(1, body=b"1234")
    world.add(2, body=b"12")
    world.add(3, body=None)
    for key, parts in (("up/3.png", (b"12", b"3")), ("up/4.png", (b"1",))):
        upload = world.store.create_upload(key, ObjectAttributes(), deadline=FixedDeadline())
        etags = [world.store.put_part(upload, key, number, part, deadline=FixedDeadline()) for number, part in enumerate(parts, 1)]
        world.store.complete_upload(upload, key, etags, condition=None, deadline=FixedDeadline())
    world.add(4, "up/4.png", body=None)
    made = plan(world, inline_bytes=2)

    # By GET and PUT up to two bytes: 1 goes by parts, 4 does not. Where the store copies safely, all go by one request.
    assert problems(made) == {"etag": 2}
    assert not made.content["found"]


def test_sample_is_extrapolated_and_says_so(world: World) -> None:
    """All 20 objects are locked, five are looked at."""
    for number in range(1, 21):
        world.add(number)
    locked(world, range(1, 21))
    found = problem(plan(world, sample=5), "locked")

    assert (found["rows"], found["estimated"], found["looked_at"]) == (20, True, 5)


def test_thorough_plan_looks_at_each_object(world: World) -> None:
    """Exact counts, and rows for examples; no object is asked for twice."""
    for number in range(1, 21):
        world.add(number)
    locked(world, range(3, 5))
    made = plan(world, thorough=True, sample=5)
    found = problem(made, "locked")

    assert (found["rows"], found["estimated"], found["looked_at"]) == (2, False, None)
    assert [example["row"] for example in found["examples"]] == ["[3]", "[4]"]
    assert made.content["looked"]["gets"] == 20


class Refusing(InMemoryStore):
    """A store that refuses some objects when they are read."""

    def __init__(self, behaviour: Behaviour, refusals: Mapping[str, ObjectError]) -> None:
        super().__init__(behaviour)
        self.refusals = refusals

    def read(self, key: str, *, max_bytes: int, admit: Any = lambda _bytes: None) -> ReadObject:  # noqa: ANN401 - as the port
        """GET, unless refused."""
        if key in self.refusals:
            raise self.refusals[key]
        return super().read(key, max_bytes=max_bytes, admit=admit)


def test_refused_objects_are_told_apart(world: World) -> None:
    """A customer's key and a lacking right are other classes, and both park their rows."""
    refusals: dict[str, ObjectError] = {"up/1.png": EncryptedError("up/1.png"), "up/2.png": DeniedError("up/2.png", "AccessDenied")}
    world.store = Refusing(world.behaviour, refusals)
    for number in range(1, 4):
        world.add(number)
    made = plan(world, thorough=True)

    assert problems(made) == {"encrypted": 1, "denied": 1}
    assert made.content["to_move"] == 1


RICH = {"expires": "Thu, 01 Jan 2099 00:00:00 GMT", "x-amz-meta-by": "anna", "x-amz-storage-class": "STANDARD_IA"}


def rich(world: World, numbers: range, headers: Mapping[str, str] = RICH) -> None:
    """Rows whose objects have more than bytes."""
    for number in numbers:
        world.add(number, body=None)
        world.store.app_put(f"up/{number}.png", b"v1", dict(headers), tags="a=1")


def attributes(made: Made) -> dict[str, tuple[int, int]]:
    """How many objects have each attribute, and how many copies lose it."""
    return {one["attribute"]: (one["objects"], one["lost"]) for one in made.content["attributes"]}


@pytest.mark.parametrize("copy_mode", ["auto", "server"])
def test_what_another_way_keeps_is_no_loss(tmp_path: Path, copy_mode: str) -> None:
    """MinIO's CopyObject drops Expires: such an object goes by GET and PUT."""
    world = World(tmp_path, behaviour=LIKE_MINIO)
    rich(world, range(1, 2))
    made = plan(world, copy_mode=copy_mode)
    world.settings = {"copy_mode": copy_mode, "grace_seconds": 0}
    world.context = world.worker()
    world.go()

    assert problems(made) == {}
    assert attributes(made) == dict.fromkeys(("content_type", "expires", "metadata", "tags", "storage_class"), (1, 0))
    assert (world.states(), world.report()["not_kept"]) == ({"deleted": 1}, 0)


@pytest.mark.parametrize(
    ("rule", "found", "to_move"), [("", {"not_kept": 3}, 4), ("storage_class=keep", {"fidelity": 3}, 1), ("all=fail", {"fidelity": 3}, 1)]
)
@pytest.mark.parametrize("behaviour", [CONDITIONAL, LIKE_MINIO], ids=["conditional", "like-minio"])
def test_plan_says_of_losses_what_the_run_then_does(
    tmp_path: Path, behaviour: Behaviour, rule: str, found: dict[str, int], to_move: int
) -> None:
    """Looked at one by one: those that will be parked are counted as such, the others are a remark; the run bears it out."""
    world = World(tmp_path, dataclasses.replace(behaviour, denies=frozenset({Attribute.STORAGE_CLASS})))
    rich(world, range(1, 4))
    world.add(4)
    made = plan(world, thorough=True, fidelity=rule)
    (cool,) = [one for one in made.content["attributes"] if one["attribute"] == "storage_class"]
    world.settings = {"fidelity": rule, "grace_seconds": 0}
    world.context = world.worker()
    world.go()

    assert (problems(made), made.content["to_move"]) == (found, to_move)
    assert cool["objects"] == cool["lost"] == 3
    assert (cool["estimated"], sorted(cool["examples"])) == (False, ["up/1.png", "up/2.png", "up/3.png"])
    assert world.report()["deleted"] == to_move
    assert (world.report()["not_kept"], world.parked()) == (found.get("not_kept", 0), {"fidelity": 3} if "fidelity" in found else {})


def test_attributes_of_a_sample_are_estimated_between_two_figures(world: World) -> None:
    """All 40 objects have metadata, 10 are looked at; storage classes are counted, since a listing shows them."""
    rich(world, range(1, 41))
    made = plan(world, sample=10)
    found = {one["attribute"]: one for one in made.content["attributes"]}

    assert made.content["looked"]["gets"] == 10
    assert (found["metadata"]["objects"], found["metadata"]["objects_between"], found["metadata"]["estimated"]) == (40, [28, 40], True)
    assert (found["storage_class"]["objects"], found["storage_class"]["objects_between"]) == (40, [40, 40])
    assert made.content["storage_classes"] == {"STANDARD_IA": 40}
    assert len(found["metadata"]["examples"]) == 3


def test_listing_replaces_heads_where_it_is_dense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request a thousand objects, and none a row."""
    monkeypatch.setattr(scanning, "PAGE_ROWS", 700)
    world = World(tmp_path)
    for number in range(2500):
        world.add(number)
    world.store.calls.clear()
    made = plan(world)

    assert made.content["to_move"] == 2500
    assert [name for name, _ in world.store.calls].count("list_page") == 3
    assert [name for name, _ in world.store.calls].count("stat") == 0
    assert [name for name, _ in world.store.calls].count("read") == looking.SAMPLE_OBJECTS


def test_sparse_keys_are_looked_at_by_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows in a bucket that is too large to be listed for them."""
    monkeypatch.setattr(bucket, "SPARE_PAGES", 2)
    world = World(tmp_path)
    for number in range(5000):
        world.store.app_put(f"other/{number:05d}", b"")
    for number in (1, 2):
        world.add(number)
    world.add(3, body=None)
    world.store.app_put("clients/7/assets/2.png", b"foreign")
    made = plan(world)

    assert problems(made) == {"missing_source": 1, "target_exists": 1}
    assert (made.content["looked"]["listings"], made.content["objects_without_row"]) == (2, None)


def test_dense_region_of_a_huge_bucket_is_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the keys lie close together, pages take over from HEADs."""
    monkeypatch.setattr(bucket, "SPARE_PAGES", 1)
    monkeypatch.setattr(bucket, "HEADS_A_PAGE", 500)
    world = World(tmp_path)
    for number in range(3000):
        world.store.app_put(f"other/{number:05d}", b"")
    for number in range(3000):
        world.add(number, f"up/{number:05d}.png")
    world.store.calls.clear()
    made = plan(world)

    assert made.content["to_move"] == 3000
    assert made.content["bytes"] == 6000
    assert made.content["looked"]["heads"] < 4600


def test_listing_that_is_denied_gives_way_to_heads(tmp_path: Path) -> None:
    """Credentials that may not list can still look key by key (case 15)."""
    world = World(tmp_path)
    world.store.faults.add(Fault.refuse(DeniedError), on="list_page", times=None)
    world.add(1)
    world.add(2, body=None)

    assert problems(plan(world)) == {"missing_source": 1}
    assert problems(plan(world, probed=False)) == {"missing_source": 1}


def test_listing_that_lacks_an_object_is_not_believed(tmp_path: Path) -> None:
    """A HEAD finds it: the whole plan is made again by HEADs."""

    class Lacking(InMemoryStore):
        def list_page(self, *, prefix: str, start_after: str, delimiter: str = "/", limit: int = 1000) -> ListedPage:
            page = super().list_page(prefix=prefix, start_after=start_after, delimiter=delimiter, limit=limit)
            return dataclasses.replace(page, objects=[info for info in page.objects if info.key != "up/2.png"])

    world = World(tmp_path)
    world.store = Lacking(clock=world.clock)
    world.add(1)
    world.add(2)
    world.add(3, body=None)
    world.later(bucket.SETTLED_SECONDS + 1)
    made = plan(world)

    assert problems(made) == {"missing_source": 1}
    assert (made.content["looked"]["by_listing"], made.content["looked"]["heads"]) == (False, 6)


def test_unordered_listing_is_noticed_without_a_probe(tmp_path: Path) -> None:
    """A store that lists folder by folder is looked at by HEADs."""
    world = World(tmp_path, behaviour=TREE)
    for number, key in enumerate(("p/x", "p-b", "p.b", "p0"), start=1):
        world.add(number, key)
    made = plan(world, probed=False)

    assert made.content["to_move"] == 4
    assert made.content["looked"]["by_listing"] is False


def test_busy_store_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One 503 in an hour must not cost the plan."""
    monkeypatch.setattr(patience.backoff, "delay", lambda _attempt, **_more: 0.0)
    world = World(tmp_path)
    world.add(1)
    world.store.faults.add(Fault.slow_down(), on="list_page")

    assert plan(world).content["to_move"] == 1


def test_busy_database_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost connection between two pages costs that page's repetition."""
    monkeypatch.setattr(patience.backoff, "delay", lambda _attempt, **_more: 0.0)
    monkeypatch.setattr(scanning, "PAGE_ROWS", 2)
    world = World(tmp_path)
    for number in range(1, 6):
        world.add(number)
    asked: list[str | None] = []
    page = Assets.page

    def failing(self: Assets, connection: Connection, *, after: str | None, limit: int) -> list[AssetRow]:
        asked.append(after)
        if len(asked) == 2:
            raise DatabaseUnavailableError("gone for a moment")
        return page(self, connection, after=after, limit=limit)

    monkeypatch.setattr(Assets, "page", failing)

    assert plan(world).content["to_move"] == 5
    assert asked == [None, "[2]", "[2]", "[4]", "[5]"]


def test_refused_look_at_a_new_key_is_no_problem_of_the_row(tmp_path: Path) -> None:
    """Where listing is denied, S3 says 403 of every absent key (case 15)."""
    world = World(tmp_path)
    world.store.faults.add(Fault.refuse(DeniedError), on="list_page", times=None)
    world.store.faults.add(Fault.refuse(DeniedError), on="stat", key="clients/7/assets/1.png", times=None)
    world.add(1)

    assert problems(plan(world)) == {}


def test_object_info_of_a_listing_compares_like_that_of_a_head() -> None:
    """The storage class is told by one of them only."""
    one = ObjectInfo(key="a", etag="e", size=1, last_modified=1, storage_class="STANDARD")

    assert one == dataclasses.replace(one, storage_class=None)
