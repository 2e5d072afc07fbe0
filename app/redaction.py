"""Takes secrets out of texts before anyone sees them (S10). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "***"
MIN_SECRET_LETTERS = 4  # a shorter one would be found inside ordinary words

_PASSWORD = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@?#]*):[^\s/]*@")
_PARAMETER = re.compile(r"(?i)(?P<before>\b(?:password|passwd|secret|token|signature|x-amz-signature|x-amz-credential)=)[^\s&'\"]+")


def mask_url(url: str) -> str:
    """The URL without its password and without its query, whose values may be secrets too."""
    return redact(url).partition("?")[0]  # in this order: a password may hold a question mark


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """*text* without passwords of URLs, values of telling parameters, and the *secrets* given."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= MIN_SECRET_LETTERS:
            text = text.replace(secret, MASK)
    text = _PASSWORD.sub(rf"\g<before>:{MASK}@", text)
    return _PARAMETER.sub(rf"\g<before>{MASK}", text)
