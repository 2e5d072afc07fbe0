"""Keys with a suffix: where it stands, what is cut for it, and that it is always the same."""

from __future__ import annotations

import pytest

from app.assets import AssetRow
from app.errors import UsageError
from app.key_suffix import suffix_of, with_suffix
from app.key_values import KeyRefusedError
from app.object_keys import Equivalence, Template
from app.planning import Rules
from app.states import ParkedReason
from tests.builders import make_settings

SUFFIX = "7x3k9q2m4t"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("logo.png", f"logo-{SUFFIX}.png"),
        ("logo", f"logo-{SUFFIX}"),
        ("archive.tar.gz", f"archive.tar-{SUFFIX}.gz"),
        (".htaccess", f".htaccess-{SUFFIX}"),
        ("..png", f"..png-{SUFFIX}"),
        ("ends.", f"ends.-{SUFFIX}"),
        ("a.not an extension but a sentence", f"a.not an extension but a sentence-{SUFFIX}"),
        ("up/2024.01/scan", f"up/2024.01/scan-{SUFFIX}"),
        ("ক.png", f"ক-{SUFFIX}.png"),
    ],
)
def test_suffix_stands_before_the_extension(name: str, expected: str) -> None:
    """Behind the last segment's stem; what does not look like an extension is none."""
    assert with_suffix("clients/7/assets/", name, "", SUFFIX) == f"clients/7/assets/{expected}"


def test_name_may_stand_in_the_middle_of_a_template() -> None:
    """What follows it in the same segment counts for its length."""
    key = with_suffix("c/7-", "x" * 240 + ".png", "@v1/original", SUFFIX)

    assert key == f"c/7-{'x' * (255 - len('7-') - len(SUFFIX) - len('-.png@v1'))}-{SUFFIX}.png@v1/original"


def test_stem_is_cut_at_whole_characters() -> None:
    """A segment has 255 bytes, and a Bengali letter three of them."""
    key = with_suffix("clients/7/assets/", "ক" * 83 + ".png", "", SUFFIX)
    segment = key.rpartition("/")[2]

    assert segment == "ক" * 80 + f"-{SUFFIX}.png"
    assert len(segment.encode()) == 255


def test_whole_key_stays_within_1024_bytes() -> None:
    """Of the old key whole, only the last segment's stem is cut."""
    folders = "/".join("f" * 200 for _ in range(5))
    key = with_suffix("", f"{folders}/{'n' * 18}.png", "", SUFFIX)

    assert key.startswith(folders + "/n")
    assert key.endswith(f"n-{SUFFIX}.png")
    assert len(key) == 1024


def test_key_stays_within_the_column() -> None:
    """Counted in characters, as databases do."""
    key = with_suffix("clients/7/assets/", "ক" * 30 + ".png", "", SUFFIX, longest=40)

    assert key == f"clients/7/assets/{'ক' * 8}-{SUFFIX}.png"
    assert len(key) == 40


def test_name_of_which_nothing_would_be_left_is_refused() -> None:
    """A key that is all suffix is nobody's name."""
    with pytest.raises(KeyRefusedError) as refusal:
        with_suffix("clients/7/assets/", "logo.png", "", SUFFIX, longest=30)

    assert refusal.value.reason is ParkedReason.TOO_LONG


def test_suffix_is_the_same_for_the_same_row_and_another_for_any_other() -> None:
    """It depends on nothing but table, row and old key; small letters and digits, so that no store folds two into one."""
    assert suffix_of("assets", "[5]", "up/logo.png") == "3rax4k6dhh"
    others = {suffix_of(*of) for of in [("files", "[5]", "up/logo.png"), ("assets", "[6]", "up/logo.png"), ("assets", "[5]", "up/l.png")]}

    assert len(others | {"3rax4k6dhh"}) == 4


def test_pieces_of_row_and_key_are_kept_apart() -> None:
    """No two rows are told the same by moving a letter from one to the other."""
    assert suffix_of("a", "b", "c/d") != suffix_of("a", "bc", "/d")
    assert suffix_of("a", "b", 'c"') != suffix_of("a", 'b"', "c")


def _row(number: int, key: str, **values: object) -> AssetRow:
    return AssetRow(id=(number,), row_id=f"[{number}]", client=7, key=key, name=values.pop("name", None), columns=values)


@pytest.mark.parametrize(
    "template", ["clients/{client_id}/assets/{file_name}", "moved/{client_id}/{key}", "c/{client_id}-{file_name}.bin/v1"]
)
def test_key_with_a_suffix_is_in_place(template: str) -> None:
    """It has the template's form, so that a second run finds nothing to do, whatever else the row holds (S9)."""
    rules = Rules(bucket="b", template=Template.parse(template, named=False), equivalence=Equivalence(), suffix_in="assets")
    plan = rules.plan(_row(5, "up/logo.png"))
    assert plan.own_key is not None
    again = rules.plan(_row(5, plan.own_key))

    assert plan.own_key != plan.new_key
    assert (again.in_place, again.new_key, again.own_key) == (True, plan.own_key, None)


def test_row_asks_for_either_key_as_long_as_it_stays_as_it_is() -> None:
    """The switch computes both anew: the key with the suffix is another one once the row names another object (S5)."""
    rules = Rules(
        bucket="b", template=Template.parse("c/{client_id}/{file_name}", named=False), equivalence=Equivalence(), suffix_in="assets"
    )
    plan = rules.plan(_row(5, "up/logo.png"))
    own = str(plan.own_key)

    assert rules.still_gives(_row(5, "up/logo.png"), plan.new_key, same_object=False)
    assert rules.still_gives(_row(5, "up/logo.png"), own, same_object=False)
    assert not rules.still_gives(_row(5, "up/2/logo.png"), own, same_object=False)
    assert not rules.still_gives(_row(6, "up/logo.png"), own, same_object=False)


def test_no_suffix_where_only_the_spelling_is_corrected() -> None:
    """Both keys are one object: nothing is to move."""
    rules = Rules(
        bucket="b",
        template=Template.parse("c/{client_id}/{file_name}", named=False),
        equivalence=Equivalence(folds_leading_slash=True),
        suffix_in="assets",
    )

    assert rules.plan(_row(5, "/c/7/logo.png")).own_key is None


def test_template_without_a_name_cannot_have_suffixes() -> None:
    """There is nothing to put one behind that would keep the form."""
    with pytest.raises(UsageError, match="REKEY_ON_COLLISION=suffix needs"):
        make_settings(template="clients/{client_id}/{col.title}", on_collision="suffix")
    assert make_settings(template="clients/{client_id}/{col.title}").on_collision == "park"
