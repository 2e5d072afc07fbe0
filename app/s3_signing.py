"""Signature Version 4, in the header (reads) and in the query (writes, which the store then refuses after their end: M2).

minio's signer derives the day's key for every request and its presigning signs the host alone, which SeaweedFS refuses together with
x-amz headers; here the key is kept for the day and every header that is sent on purpose is signed. The unit tests hold it to minio's.
"""

from __future__ import annotations

import hmac
import re
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from app.s3_text import encode_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_BODY_SHA256 = sha256(b"").hexdigest()
_BLANKS = re.compile(" {2,}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests are signed with."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class _Provided(Protocol):
    @property
    def access_key(self) -> str:
        """The access key."""

    @property
    def secret_key(self) -> str:
        """The secret key."""

    @property
    def session_token(self) -> str | None:
        """The token of temporary credentials."""


class Provider(Protocol):
    """The form of minio's credentials providers, which fetch and renew temporary credentials where they are of such a kind."""

    def retrieve(self) -> _Provided:
        """The credentials valid now."""


class ProvidedCredentials:
    """A provider's credentials; the same object as long as the provider gives the same, so that derived keys are kept."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._known: tuple[object, Credentials] | None = None

    def __call__(self) -> Credentials:
        """What to sign with now."""
        now = self._provider.retrieve()
        known = self._known
        if known is None or known[0] is not now:
            known = self._known = (now, Credentials(now.access_key, now.secret_key, now.session_token))
        return known[1]


@dataclass(frozen=True, slots=True)
class _Day:
    """What is the same for all requests of one day and one set of credentials."""

    credentials: Credentials
    day: str
    scope: str
    credential: str  # as a query argument
    key: bytes


class Signer:
    """Signs requests to one host in one region."""

    def __init__(self, *, host: str, region: str) -> None:
        self._host = host
        self._region = region
        self._day: _Day | None = None
        self._stamp = (0, "")

    def in_headers(self, method: str, path: str, query: str, headers: Mapping[str, str], *, who: Credentials, date: int) -> dict[str, str]:
        """The headers to send: *headers* and those of the signature. *query* is canonical: encoded and sorted."""
        stamp = self._stamp_of(date)
        day = self._day_of(who, stamp[:8])
        signed = {**headers, "x-amz-content-sha256": NO_BODY_SHA256, "x-amz-date": stamp}
        if who.session_token is not None:
            signed["x-amz-security-token"] = who.session_token
        lines, names = self._canonical(signed)
        signature = _signature(day, stamp, f"{method}\n{path}\n{query}\n{lines}\n{names}\n{NO_BODY_SHA256}")
        signed["authorization"] = f"AWS4-HMAC-SHA256 Credential={who.access_key}/{day.scope}, SignedHeaders={names}, Signature={signature}"
        return signed

    def in_query(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        *,
        who: Credentials,
        date: int,
        expires: int,
    ) -> str:
        """The target to send: the store refuses it *expires* seconds after *date*. All of *headers* are signed."""
        stamp = self._stamp_of(date)
        day = self._day_of(who, stamp[:8])
        lines, names = self._canonical(headers)
        pairs = [
            *query,
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", day.credential),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", names.replace(";", "%3B")),
        ]
        if who.session_token is not None:
            pairs.append(("X-Amz-Security-Token", encode_value(who.session_token)))
        pairs.sort()
        canonical = "&".join([f"{name}={value}" for name, value in pairs])
        signature = _signature(day, stamp, f"{method}\n{path}\n{canonical}\n{lines}\n{names}\nUNSIGNED-PAYLOAD")
        return f"{path}?{canonical}&X-Amz-Signature={signature}"

    def _canonical(self, headers: Mapping[str, str]) -> tuple[str, str]:
        """The canonical header lines, each with its end, and the list of their names."""
        named = sorted([("host", self._host), *headers.items()])
        lines = "".join([f"{name}:{value if '  ' not in value else _BLANKS.sub(' ', value)}\n" for name, value in named])
        return lines, ";".join([name for name, _ in named])

    def _stamp_of(self, date: int) -> str:
        known, stamp = self._stamp
        if known != date:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(date))
            self._stamp = (date, stamp)
        return stamp

    def _day_of(self, who: Credentials, day: str) -> _Day:
        known = self._day
        if known is None or known.day != day or known.credentials is not who:
            key = b"AWS4" + who.secret_key.encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            scope = f"{day}/{self._region}/s3/aws4_request"
            known = _Day(credentials=who, day=day, scope=scope, credential=encode_value(f"{who.access_key}/{scope}"), key=key)
            self._day = known
        return known


def _signature(day: _Day, stamp: str, canonical: str) -> str:
    # Latin-1: header values stand for the bytes that are sent.
    digest = sha256(canonical.encode("latin-1")).hexdigest()
    return hmac.digest(day.key, f"AWS4-HMAC-SHA256\n{stamp}\n{day.scope}\n{digest}".encode(), "sha256").hex()
