"""A bucket as an outsider sees it: signed requests written down byte for byte, so that no client's cleaning of keys comes between."""

from __future__ import annotations

import hashlib
import http.client
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlencode
from xml.etree import ElementTree as ET

from minio.credentials import Credentials
from minio.signer import sign_v4_s3

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers import S3Server

REGION = "us-east-1"
OWN_PREFIX = ".rekey/"


class AnswerError(Exception):
    """The store said no: ``AnswerError(status, text)``."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.args[0])


@dataclass(frozen=True)
class Found:
    """One object: its bytes and every header of the answer."""

    body: bytes
    headers: Mapping[str, str]


@dataclass
class Bucket:
    """One bucket of a real server."""

    server: S3Server
    name: str
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def put(self, key: str, body: bytes, headers: Mapping[str, str] | None = None) -> bool:
        """Upload or overwrite; false where the store takes no such key."""
        try:
            self.ask("PUT", key, body=body, headers=headers)
        except AnswerError:
            return False
        return True

    def find(self, key: str) -> Found | None:
        """What a reader of this very key gets; None where nothing is, or no such key can be."""
        try:
            return self.ask("GET", key)
        except AnswerError as error:
            if error.status in {400, 404}:
                return None
            raise

    def get(self, key: str) -> bytes | None:
        """The bytes alone."""
        found = self.find(key)
        return None if found is None else found.body

    def delete(self, key: str) -> None:
        """Delete."""
        self.ask("DELETE", key)

    def keys(self) -> list[str]:
        """Every key of the listing but the product's own."""
        keys: list[str] = []
        while True:
            query = {"list-type": "2", "encoding-type": "url", "start-after": keys[-1] if keys else ""}
            page = ET.fromstring(self.ask("GET", None, query={k: v for k, v in query.items() if v}).body)  # noqa: S314 - of a server that the tests started
            space = page.tag.partition("}")[0] + "}" if page.tag.startswith("{") else ""
            found = [unquote(str(node.findtext(f"{space}Key")).replace("+", " ")) for node in page.iter(f"{space}Contents")]
            keys += found
            if page.findtext(f"{space}IsTruncated") != "true" or not found:
                return [key for key in keys if not key.startswith(OWN_PREFIX)]

    def contents(self) -> dict[str, bytes | None]:
        """Every object but the product's own, read one by one."""
        return {key: self.get(key) for key in self.keys()}

    def uploads(self) -> list[str]:
        """Unfinished multipart uploads, as far as a listing of the bucket names them."""
        page = ET.fromstring(self.ask("GET", None, query={"uploads": ""}).body)  # noqa: S314 - of a server that the tests started
        return [str(node.text) for node in page.iter() if node.tag.endswith("UploadId")]

    def ask(
        self,
        method: str,
        key: str | None,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Found:
        """One signed request, its path exactly as the key's bytes say."""
        host = self.server.endpoint.partition("//")[2]
        path = f"/{self.name}" + ("" if key is None else "/" + quote(key, safe="/-_.~"))
        asked = urlencode(sorted((query or {}).items()), quote_via=quote)
        now = datetime.now(UTC)
        digest = hashlib.sha256(body).hexdigest()
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        sent |= {"host": host, "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"), "x-amz-content-sha256": digest}
        signed = sign_v4_s3(
            method=method,
            url=SplitResult("http", host, path, asked, ""),
            region=REGION,
            headers=dict(sent),
            credentials=Credentials(self.server.access_key, self.server.secret_key),
            content_sha256=digest,
            date=now,
        )
        target = path + (f"?{asked}" if asked else "")
        try:
            answer, text = self._send(method, target, signed, body)
        finally:
            if key is not None and key.endswith("/"):
                self.close()  # SeaweedFS closes the connection behind the answer, and does not say so
        if answer.status >= 300:
            raise AnswerError(answer.status, text.decode("utf-8", "replace"))
        return Found(text, {name.lower(): value for name, value in answer.getheaders()})

    def _send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(headers["host"], timeout=20)
        self._connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            self._connection.putheader(name, value.encode() if isinstance(value, str) else value)
        self._connection.putheader("content-length", str(len(body)))
        self._connection.endheaders(body)
        answer = self._connection.getresponse()
        return answer, answer.read()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
