"""An object store that answers from memory, so that what is measured beside it is the product's own cost.

``python -m tests.benchmarks.stub_store --port 9900 --assets 1000000``. It speaks what the product asks of MinIO and no more: GET, HEAD, PUT
and copies with their conditions, ListObjectsV2 from start-after, DeleteObjects. No signature is checked, but for its end. The assets of
``tests.benchmarks.ground`` are not kept but computed: five bytes each, whatever their size. ``GET /recount`` tells how they stand.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from calendar import timegm
from collections.abc import Mapping, Sequence
from hashlib import md5
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape, unescape

from tests.benchmarks.stub_objects import Assets, Found, Others, RefusedError, http_date, iso_date

MOST_LISTED = 1000
_DELETED = re.compile(r"<Key>(.*?)</Key>")
_REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 403: "Forbidden", 404: "Not Found", 412: "Precondition Failed"}
_CODES = {403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed", 501: "NotImplemented"}


class Stub:
    """What each request is answered."""

    def __init__(self, assets: Assets) -> None:
        self.assets = assets
        self.others = Others()
        self.size = len(assets.bodies[0])
        self._parts: dict[str, bytes] = {}

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, list[str], bytes]:
        """Status, headers and body."""
        try:
            return self._answer(method, target, headers, body)
        except RefusedError as refusal:
            code = _CODES[refusal.status]
            said = f"<Error><Code>{code}</Code><Message>{refusal or code}</Message></Error>".encode()
            return refusal.status, [f"x-minio-error-code: {code}"], said

    def _answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, list[str], bytes]:
        path, _, text = target.partition("?")
        bucket, _, key = unquote(path[1:]).partition("/")
        query = {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()} if text else {}
        _check_end(query)
        if not key:
            return self._bucket(method, bucket, query, body)
        asked = {name for name in query if not name.startswith("X-Amz-")}
        if method in {"GET", "HEAD"} and not asked:
            return self._read(key, headers)
        if method == "PUT" and not asked:
            return self._write(key, headers, body)
        if method == "DELETE" and not asked:
            self._delete(key)
            return 204, [], b""
        if "uploads" in asked or "uploadId" in asked:
            return self._upload(method, key, query, headers, body)
        raise RefusedError(501)

    def _upload(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, list[str], bytes]:
        """Uploads in parts, which only the probe makes here: its objects are of one part."""
        if method == "POST" and "uploads" in query:
            self._parts[key] = b""
            return 200, [], b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        if method == "DELETE":
            self._parts.pop(key, None)
            return 204, [], b""
        if method == "PUT":
            body = self._parts[key] = self._source(headers).body if "x-amz-copy-source" in headers else body
            etag = md5(body, usedforsecurity=False).hexdigest()
            result = f"<CopyPartResult><ETag>{etag}</ETag><LastModified>{iso_date(int(time.time()))}</LastModified></CopyPartResult>"
            return 200, [f'etag: "{etag}"'], result.encode()
        self._check_target(key, headers)
        etag = self.others.write(key, self._parts.pop(key), "binary/octet-stream")
        return 200, [], f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>".encode()

    def _bucket(self, method: str, name: str, query: Mapping[str, str], body: bytes) -> tuple[int, list[str], bytes]:
        if name == "recount":
            return 200, [], json.dumps(self.assets.recount()).encode()
        if method == "POST" and "delete" in query:
            keys = [unescape(key) for key in _DELETED.findall(body.decode())]
            for key in keys:
                self._delete(key)
            return (
                200,
                [],
                f"<DeleteResult>{''.join(f'<Deleted><Key>{escape(key)}</Key></Deleted>' for key in keys)}</DeleteResult>".encode(),
            )
        if method == "GET" and "list-type" in query:
            return 200, ["content-type: application/xml"], self._list(query).encode()
        if method == "GET" and "versioning" in query:
            return 200, [], b"<VersioningConfiguration/>"
        if method == "HEAD":
            return 200, [], b""
        raise RefusedError(501)

    def _list(self, query: Mapping[str, str]) -> str:
        prefix, after = query.get("prefix", ""), query.get("start-after", "")
        limit = min(int(query.get("max-keys", MOST_LISTED)), MOST_LISTED)
        entries: list[tuple[str, Found | None, int]] = [(key, found, self.size) for key, found in self.assets.listed(prefix, after, limit)]
        for key, found in self.others.listed(prefix, after):
            rest = key[len(prefix) :]
            if query.get("delimiter") and "/" in rest:
                folder = prefix + rest[: rest.index("/") + 1]
                if folder > after and (folder, None, 0) not in entries:
                    entries.append((folder, None, 0))
            else:
                entries.append((key, found, self.others.size(key)))
        entries.sort(key=lambda entry: entry[0])
        listed = "".join(_listed(*entry) for entry in entries[:limit])
        more = "true" if len(entries) > limit else "false"
        return f"<ListBucketResult><IsTruncated>{more}</IsTruncated><EncodingType>url</EncodingType>{listed}</ListBucketResult>"

    def _find(self, key: str) -> Found | None:
        number = self.assets.number(key)
        return self.others.find(key) if number is None else self.assets.find(number[0], is_new=number[1])

    def _read(self, key: str, headers: Mapping[str, str]) -> tuple[int, list[str], bytes]:
        if "authorization" not in headers:
            raise RefusedError(403)
        found = self._find(key)
        if found is None:
            raise RefusedError(404)
        about = [f'etag: "{found.etag}"', f"last-modified: {http_date(found.modified)}", f"content-type: {found.content_type}"]
        return 200, about, found.body

    def _write(self, key: str, headers: Mapping[str, str], body: bytes) -> tuple[int, list[str], bytes]:
        number = self.assets.number(key)
        copied = "x-amz-copy-source" in headers
        content_type = headers.get("content-type", "binary/octet-stream")
        if copied:  # MinIO heeds no condition on the target of a copy
            source = self._source(headers)
            body, content_type = source.body, source.content_type
        else:
            self._check_target(key, headers)
        if number is None:
            etag = self.others.write(key, body, content_type)
        elif number[1]:
            etag = self.assets.write(number[0], body)
        else:
            raise RefusedError(501, "nobody writes at an old key here")
        if not copied:
            return 200, [f'etag: "{etag}"'], b""
        result = f"<CopyObjectResult><ETag>{etag}</ETag><LastModified>{iso_date(int(time.time()))}</LastModified></CopyObjectResult>"
        return 200, [], result.encode()

    def _source(self, headers: Mapping[str, str]) -> Found:
        source = self._find(unquote(headers["x-amz-copy-source"]).lstrip("/").partition("/")[2])
        if source is None:
            raise RefusedError(404)
        if headers.get("x-amz-copy-source-if-match", source.etag).strip('"') != source.etag:
            raise RefusedError(412)
        return source

    def _check_target(self, key: str, headers: Mapping[str, str]) -> None:
        if "if-none-match" not in headers and "if-match" not in headers:
            return
        there = self._find(key)
        if there is None and "if-match" in headers:
            raise RefusedError(404 if "if-none-match" not in headers else 412)
        if there is not None and ("if-none-match" in headers or headers["if-match"].strip('"') != there.etag):
            raise RefusedError(412)

    def _delete(self, key: str) -> None:
        number = self.assets.number(key)
        if number is None:
            self.others.delete(key)
        else:
            self.assets.delete(number[0], is_new=number[1])


def _check_end(query: Mapping[str, str]) -> None:
    """Refuse a request whose query signature has ended (M2)."""
    if "X-Amz-Expires" in query:
        signed = timegm(time.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
        if time.time() > signed + int(query["X-Amz-Expires"]):
            raise RefusedError(403, "Request has expired")


def _listed(key: str, found: Found | None, size: int) -> str:
    if found is None:
        return f"<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>"
    return (
        f"<Contents><Key>{key}</Key><LastModified>{iso_date(found.modified)}</LastModified>"
        f"<ETag>&quot;{found.etag}&quot;</ETag><Size>{size}</Size></Contents>"
    )


class Connection(asyncio.Protocol):
    """One connection: whole requests one after the other."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._got = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._got[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self._got) < whole:
                return
            body = bytes(self._got[end + 4 : whole])
            del self._got[:whole]
            method, target, _ = first.split(" ", 2)
            self._send(method, *self._stub.answer(method, target, headers, body))

    def _send(self, method: str, status: int, about: Sequence[str], body: bytes) -> None:
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'No')}", f"date: {http_date(int(time.time()))}", *about]
        if status != 204:
            lines.append(f"content-length: {len(body)}")
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        self._transport.write(head if method == "HEAD" else head + body)


async def _serve(port: int, stub: Stub) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(stub), "127.0.0.1", port)
    await server.serve_forever()


def main(args: Sequence[str]) -> int:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stub_store", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--assets", type=int, required=True)
    parser.add_argument("--size", type=int, default=4096)
    options = parser.parse_args(args)
    asyncio.run(_serve(options.port, Stub(Assets(options.assets, options.size))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
