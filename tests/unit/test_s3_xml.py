"""The XML of S3."""

from __future__ import annotations

import pytest

from app.object_store import ObjectInfo
from app.s3_xml import (
    XmlError,
    complete_body,
    delete_body,
    parse,
    read_deleted,
    read_error,
    read_page,
    read_tags,
    read_upload_id,
    read_written,
)

HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n'


def _page(inner: str) -> bytes:
    return HEAD + f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</ListBucketResult>'.encode()


def _contents(key: str) -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-25T02:51:03.987Z</LastModified>"
        '<ETag>&#34;abc&#34;</ETag><Size>7</Size><Owner><ID xmlns:xsi="x">o</ID></Owner></Contents>'
    )


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [("a%20b%2Bc", "a b+c"), ("a+b%2Bc", "a b+c"), ("a%2520b", "a%20b"), ("%C3%A9%0D", "é\r"), ("plain/x", "plain/x")],
)
def test_listed_key_is_decoded_once(encoded: str, expected: str) -> None:
    """MinIO writes a blank as a plus, SeaweedFS as %20; both decode once (CASES 7)."""
    page = read_page(_page(f"<IsTruncated>false</IsTruncated>{_contents(encoded)}<EncodingType>url</EncodingType>"))

    assert page.objects == [ObjectInfo(key=expected, etag="abc", size=7, last_modified=1795575063)]


def test_listed_key_is_left_as_it_is_where_the_store_does_not_encode() -> None:
    """A store that ignores encoding-type says so by leaving it out."""
    page = read_page(_page(f"<IsTruncated>true</IsTruncated>{_contents('a%20b+c')}"))

    assert page.objects[0].key == "a%20b+c"
    assert page.truncated


@pytest.mark.parametrize(("element", "expected"), [("<StorageClass>GLACIER</StorageClass>", "GLACIER"), ("", None)])
def test_listed_object_tells_its_storage_class(element: str, expected: str | None) -> None:
    """An archived object shows in the listing already; a store may leave the class out."""
    page = read_page(_page(_contents("a").replace("<Size>", f"{element}<Size>")))

    assert page.objects[0].storage_class == expected


def test_last_of_a_page_is_its_greatest_key_or_prefix() -> None:
    """What a page covers ends with its last entry, objects and prefixes alike."""
    prefixes = "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"

    assert read_page(_page(_contents("o") + prefixes)).last == "p/"
    assert read_page(_page(_contents("q") + prefixes)).last == "q"
    assert read_page(_page("")).last is None


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"not xml",
        b"<html></html>",
        HEAD + b"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        _page(_contents("")),
        _page(_contents("%FF") + "<EncodingType>url</EncodingType>"),
    ],
)
def test_broken_page_is_refused(body: bytes | None) -> None:
    """Nothing is read into a page that is no whole listing."""
    with pytest.raises(XmlError):
        read_page(body)


@pytest.mark.parametrize(
    "body", [b'<!DOCTYPE x [<!ENTITY a "b">]><Error><Code>&a;</Code></Error>', "<Error/>".encode("utf-16"), b"<a>\0</a>"]
)
def test_document_type_is_refused(body: bytes) -> None:
    """No document may define entities that grow (billion laughs)."""
    with pytest.raises(XmlError):
        parse(body)


def test_error_is_found_behind_blanks() -> None:
    """S3 sends blanks to keep a slow copy's connection alive, then the error under status 200 (CASES 8)."""
    body = b"   \n" + HEAD + b"<Error><Code>InternalError</Code><Message>We failed</Message></Error>"

    assert read_error(body) == ("InternalError", "We failed")
    assert read_error(HEAD + b"<CopyObjectResult/>") == ("", "")


def test_result_gives_etag_and_time() -> None:
    """ETags come without their quotes, and are empty where the answer has none."""
    body = b"<CopyObjectResult><LastModified>2026-11-25T02:51:03.987Z</LastModified><ETag>&quot;abc&quot;</ETag></CopyObjectResult>"

    assert read_written(body, "CopyObjectResult") == ("abc", 1795575063)
    assert read_written(b"<CopyObjectResult/>", "CopyObjectResult") == ("", None)
    with pytest.raises(XmlError):
        read_written(b"<Error/>", "CopyObjectResult")


def test_upload_id_is_needed() -> None:
    """An upload without an id is none."""
    assert read_upload_id(b"<R><UploadId>u</UploadId></R>") == "u"
    with pytest.raises(XmlError):
        read_upload_id(b"<R/>")


def test_tags_keep_their_order_and_empty_values() -> None:
    """A tag may have no value."""
    body = b"<Tagging><TagSet><Tag><Key>b</Key><Value>1</Value></Tag><Tag><Key>a</Key><Value></Value></Tag></TagSet></Tagging>"

    assert read_tags(body) == [("b", "1"), ("a", "")]


def test_deleted_and_refused_keys_are_told_apart() -> None:
    """Every key's own result is read."""
    body = (
        b"<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"
        b"<Message>no</Message></Error><Deleted><Key>c&amp;d</Key></Deleted></DeleteResult>"
    )

    result = read_deleted(body)

    assert result.deleted == {"a", "c&d"}
    assert result.errors == [("b", "AccessDenied", "no")]
    with pytest.raises(XmlError):
        read_deleted(b"<Error/>")


def test_delete_body_names_keys_and_conditions() -> None:
    """Special characters are escaped, and an ETag is sent in quotes."""
    root = parse(delete_body([("a&<b>\"'", None), ("c", "e")]))

    assert [(item.findtext("Key"), item.findtext("ETag")) for item in root.iter("Object")] == [("a&<b>\"'", None), ("c", '"e"')]


def test_complete_body_numbers_parts_from_one() -> None:
    """Parts are listed in order."""
    root = parse(complete_body(["x", "y"]))

    assert [(part.findtext("PartNumber"), part.findtext("ETag")) for part in root.iter("Part")] == [("1", '"x"'), ("2", '"y"')]
