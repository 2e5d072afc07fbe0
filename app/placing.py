"""Which of two buckets holds the object of a key: a function of the key alone (REKEY_TARGET_BUCKET). Pure.

A key of the template's form, whoever's it is, means an object of the target bucket; every other key means one of the source bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.object_keys import EXACT, Equivalence, Template


class Where(Enum):
    """Where the keys of a folder lie."""

    SOURCE = "source"
    TARGET = "target"
    BOTH = "both"


def folded_form(template: str, equivalence: Equivalence) -> str | None:
    """Why *template* does not tell two buckets apart: a key's bucket goes by its canonical spelling, and so must its own words."""
    word = template.partition("{")[0]
    spelt = equivalence.canonical(word + "x").removesuffix("x")
    return None if spelt == word else f"REKEY_TEMPLATE: the store takes {word!r} and {spelt!r} for one: write the latter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """The rule of one run; without a *target* everything lies in *source*."""

    source: str
    target: str | None
    template: Template
    equivalence: Equivalence = EXACT

    def in_target(self, key: str) -> bool:
        """Whether the key's object lies in the target bucket: by its canonical spelling, so that all spellings lie in one bucket."""
        return self.target is not None and self.template.has_form(self.equivalence.canonical(key))

    def bucket_of(self, key: str) -> str:
        """The name of the bucket that holds the key's object."""
        return self.target if self.target is not None and self.in_target(key) else self.source

    def children(self, prefix: str) -> Where:
        """Where what lies directly in the folder *prefix* (empty, or ending in a slash) lies."""
        head = self.template.text.partition("{")[0]
        if self.target is None or (prefix and not prefix.startswith(head) and not head.startswith(prefix)):
            return Where.SOURCE
        # A name that is nothing but a letter fits only where the form asks nothing of the last segment: then each name fits.
        return Where.TARGET if prefix and self.in_target(f"{prefix}x") else Where.BOTH
