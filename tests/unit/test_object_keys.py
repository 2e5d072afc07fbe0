"""New keys from a template, and which keys are one object."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

import pytest

from app.errors import UsageError
from app.object_keys import EXACT, Equivalence, KeyRefusedError, Template, check_old_key, key_hash
from app.states import ParkedReason

STANDARD = "clients/{client_id}/assets/{file_name}"
MINIO = Equivalence(folds_leading_slash=True)
SEAWEEDFS = Equivalence(folds_leading_slash=True, folds_double_slash=True, folds_backslash=True)
VERSITYGW = Equivalence(folds_leading_slash=True, folds_double_slash=True, folds_dots=True)


def unnamed(text: str = STANDARD) -> Template:
    """A template for a table without NAME_COLUMN."""
    return Template.parse(text, named=False)


def named(text: str = STANDARD) -> Template:
    """A template for a table with NAME_COLUMN."""
    return Template.parse(text, named=True)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (STANDARD, "clients/7/assets/a b+é.png"),
        ("{client_id}/{key}", "7/up/x/a b+é.png"),
        ("c/{client_id}-{col.folder}/{file_name}.bak", "c/7-2024/a b+é.png.bak"),
        ("{col.File Name}", "photo"),
    ],
)
def test_new_key_fills_the_fields(template: str, expected: str) -> None:
    """Each field gives its value, unchanged."""
    columns = {"folder": 2024, "File Name": "photo"}

    assert expected == unnamed(template).new_key("up/x/a b+é.png", 7, None, columns)


def test_new_key_takes_the_name_column_where_there_is_one() -> None:
    """NAME_COLUMN's value wins over the old key's last segment."""
    assert named().new_key("up/0f3a", 7, "photo.png", {}) == "clients/7/assets/photo.png"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "7"),
        ("7", "7"),
        ("Ünï", "Ünï"),
        (uuid.UUID("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (decimal.Decimal("7.000"), "7"),
        (decimal.Decimal("1E+3"), "1000"),
        (7.0, "7"),
        (dt.date(2024, 2, 29), "2024-02-29"),
    ],
)
def test_new_key_writes_a_client_id_as_one_text_whatever_its_type(value: object, expected: str) -> None:
    """The same id gives the same prefix whether the column is INTEGER, NUMERIC, UUID or text."""
    assert f"clients/{expected}/assets/a.png" == unnamed().new_key("up/a.png", value, None, {})


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "\t\n",
        ".",
        "..",
        "7/../8",
        "/",
        "a\0b",
        "\udce9",
        b"7",
        True,
        7.5,
        float("nan"),
        float("inf"),
        1e300,
        decimal.Decimal("7.5"),
        decimal.Decimal("NaN"),
        dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
        [7],
    ],
)
def test_new_key_refuses_a_client_id_that_is_no_segment(value: object) -> None:
    """NULL, blank, dots, slashes, bytes and types without one text form are bad names (cases 2, 33, 38)."""
    with pytest.raises(KeyRefusedError, match="the client id") as caught:
        unnamed().new_key("up/a.png", value, None, {})

    assert caught.value.reason == ParkedReason.BAD_NAME


@pytest.mark.parametrize("value", [None, "", " ", ".", "..", "../../8/assets/logo.png", "a/./b.png", "2024//x.png", "/x.png"])
def test_new_key_refuses_a_bad_name_in_the_name_column(value: object) -> None:
    """A NULL in NAME_COLUMN is a bad name too: the old key's last segment is not taken instead (case 33)."""
    with pytest.raises(KeyRefusedError, match="the file name") as caught:
        named().new_key("up/a.png", 7, value, {})

    assert caught.value.reason == ParkedReason.BAD_NAME


@pytest.mark.parametrize("old_key", [None, "", "  ", b"up/a.png", 7, "up/folder/", "up/..", "up/\udcff.png", "up/a\0.png"])
def test_new_key_refuses_an_old_key_without_a_usable_name(old_key: object) -> None:
    """An old key that is missing, no text, or ends in a slash gives no file name (cases 22, 33)."""
    with pytest.raises(KeyRefusedError) as caught:
        unnamed().new_key(old_key, 7, None, {})

    assert caught.value.reason == ParkedReason.BAD_NAME


@pytest.mark.parametrize("old_key", ["a/./b.png", "a//b.png", "/a.png", "a/", "../a.png"])
def test_new_key_refuses_an_old_key_that_key_cannot_carry(old_key: str) -> None:
    """``{key}`` takes no empty, '.' or '..' segment into a new key."""
    with pytest.raises(KeyRefusedError, match="the old key has") as caught:
        unnamed("c/{client_id}/{key}").new_key(old_key, 7, None, {})

    assert caught.value.reason == ParkedReason.BAD_NAME


@pytest.mark.parametrize(
    ("old_key", "name"),
    [
        ("up/0f3a", "\u0995" * 90),  # 270 bytes of Bengali letters
        ("up/" + "x" * 1022, "a.png"),
        ("up/0f3a", "x" * 256),
    ],
)
def test_new_key_measures_utf8_bytes(old_key: str, name: str) -> None:
    """A segment over 255 bytes or a key over 1024 is too long, letters counted as UTF-8 (case 6)."""
    with pytest.raises(KeyRefusedError) as caught:
        named().new_key(old_key, 7, name, {})

    assert caught.value.reason == ParkedReason.TOO_LONG


def test_new_key_is_too_long_when_only_the_prefix_makes_it_so() -> None:
    """A key of 1010 bytes passes 1024 with the prefix added (case 6)."""
    old_key = "/".join(["x" * 200] * 5) + "/" + "y" * 5

    assert len(check_old_key(old_key)) == 1010
    with pytest.raises(KeyRefusedError, match="more than 1024 bytes") as caught:
        unnamed("clients/{client_id}/assets/{key}").new_key(old_key, 7, None, {})
    assert caught.value.reason == ParkedReason.TOO_LONG


def test_new_key_takes_lengths_at_the_limit() -> None:
    """255 bytes a segment are allowed."""
    assert named().new_key("up/0f3a", 7, "x" * 255, {}) == ("clients/7/assets/" + "x" * 255)


@pytest.mark.parametrize("columns", [{}, {"tag": None}, {"tag": "a/b"}, {"tag": b"x"}])
def test_new_key_refuses_a_column_that_is_no_segment(columns: dict[str, object]) -> None:
    """``{col.NAME}`` is held to the same rules as the client id."""
    with pytest.raises(KeyRefusedError, match="the column tag"):
        unnamed("{col.tag}/{file_name}").new_key("up/a.png", 7, None, columns)


def test_new_key_refuses_a_backslash_only_where_the_store_takes_it_for_a_slash() -> None:
    r"""``..\..\8\a.png`` is a name on MinIO and a climb on SeaweedFS (case 2)."""
    assert named().new_key("up/x", 7, r"..\..\8\a.png", {}, equivalence=MINIO) == r"clients/7/assets/..\..\8\a.png"
    with pytest.raises(KeyRefusedError, match="holds a slash"):
        named().new_key("up/x", 7, r"..\..\8\a.png", {}, equivalence=SEAWEEDFS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clients/{client}/{file_name}", "no field {client}: use {client_id}"),
        ("clients/{}/{file_name}", "no field {}"),
        ("clients/{col.}/{file_name}", "no field {col.}"),
        ("clients/all", "gives all rows one key"),
        ("", "gives all rows one key"),
        ("{key}", "changes no key"),
        ("clients/{client_id/{file_name}", "brace without its twin"),
        ("/clients/{client_id}/{file_name}", "slash at an end"),
        ("clients/{client_id}//{file_name}", "slash at an end"),
        ("clients/../{file_name}", "slash at an end"),
        ("{client_id}/{file_name}/", "slash at an end"),
        ("a\\{file_name}", "backslash"),
        ("{file_name}/{file_name}", "{file_name} twice"),
        ("x" * 256 + "/{file_name}", "too long"),
    ],
)
def test_parse_refuses_a_template_in_one_line(text: str, message: str) -> None:
    """What cannot be right is refused with the reason."""
    with pytest.raises(UsageError) as caught:
        unnamed(text)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_are_those_of_the_fields_each_once() -> None:
    """The planner reads no more columns than the template needs."""
    assert unnamed("{col.b}/{col.a}-{col.b}/{file_name}").columns == ("b", "a")


@pytest.mark.parametrize(
    ("template", "key", "expected"),
    [
        (STANDARD, "clients/7/assets/whatever.png", True),
        (STANDARD, "clients/8/assets/whatever.png", False),
        (STANDARD, "clients/7/assets/a/b.png", False),
        (STANDARD, "clients/7/assets/..", False),
        (STANDARD, "clients/7/assets/", False),
        (STANDARD, "/clients/7/assets/a.png", False),
        (STANDARD, "Clients/7/assets/a.png", False),
        (STANDARD, None, False),
        ("clients/{client_id}/{key}", "clients/7/up/a.png", True),
        ("clients/{client_id}/{key}", "clients/7/up/../8", False),
        ("c.{client_id}/{col.tag}/{file_name}", "c.7/red/a.png", True),
        ("c.{client_id}/{col.tag}/{file_name}", "cx7/red/a.png", False),
        ("c.{client_id}/{col.tag}/{file_name}", "c.7/blue/a.png", False),
        ("c.{client_id}/{col.none}/{file_name}", "c.7/red/a.png", False),
        ("{client_id}{file_name}{client_id}", "7a7", True),
        ("{client_id}{file_name}{client_id}", "77", False),
        ("{client_id}{file_name}{client_id}", "7", False),
        ("x{file_name}-{key}", "xa-b/c", True),
        ("x{file_name}-{key}", "x/a-b", False),
    ],
)
def test_is_in_place_compares_client_and_columns_but_no_names(template: str, key: object, expected: bool) -> None:  # noqa: FBT001 - an expectation
    """A key of the template's form is in place whatever file name it ends in."""
    assert expected == unnamed(template).is_in_place(key, 7, {"tag": "red"})


@pytest.mark.parametrize(
    ("equivalence", "key", "canonical"),
    [
        (EXACT, "/a//b\\C", "/a//b\\C"),
        (MINIO, "/up/b.png", "up/b.png"),
        (MINIO, "///up/b.png", "up/b.png"),
        (MINIO, "/a//b/./c/", "a/b/c/"),
        (MINIO, "a//b", "a//b"),
        (MINIO, "/", ""),
        (SEAWEEDFS, "\\c//x", "c/x"),
        (Equivalence(folds_case=True), "7/Logo.PNG", "7/logo.png"),
        (VERSITYGW, "/up/./x/../b.png", "up/b.png"),
        (VERSITYGW, "up//x//../b.png", "up/b.png"),
        (VERSITYGW, "../../up/b/", "up/b/"),
        (Equivalence(folds_dots=True), "up/../../b", "b"),
        (Equivalence(folds_unicode=True), "7/cafe\u0301.png", "7/caf\u00e9.png"),
        (Equivalence(folds_unicode=True, folds_case=True), "7/CAFE\u0301.png", "7/caf\u00e9.png"),
    ],
)
def test_canonical_folds_what_the_store_folds(equivalence: Equivalence, key: str, canonical: str) -> None:
    """Each store's measured foldings, and no others."""
    assert canonical == equivalence.canonical(key)


def test_variants_hold_the_spellings_that_rows_use() -> None:
    """The database is asked for the forms with a leading slash, and for each fold that the store has."""
    assert {"up/b.png", "/up/b.png", "//up/b.png", "/up//b.png"} == set(MINIO.variants("/up/b.png"))
    assert {"c//x", "c\\x", "/c/x", "\\c\\x"} <= set(SEAWEEDFS.variants("c/x"))
    assert {"LOGO.PNG", "logo.png", "Logo.png"} == set(Equivalence(folds_case=True).variants("Logo.png"))
    assert {"up/./b.png", "./up/b.png"} <= set(VERSITYGW.variants("up/b.png"))
    assert EXACT.variants("a/b") == ("a/b",)


def test_key_hash_is_stable() -> None:
    """The ledger of a running deployment stays valid: the hash of a known key does not change between versions."""
    assert len(key_hash("bucket", "a/b.png")) == 32
    assert key_hash("bucket", "a/b.png").hex()[:8] == "1bcb8b19"
