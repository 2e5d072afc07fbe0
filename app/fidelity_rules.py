"""The attributes of objects that the contract names, who sees them, and what the operator wishes where one cannot be kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache


class Attribute(StrEnum):
    """Everything that the contract names, in the order in which it is shown."""

    CONTENT_TYPE = "content_type"
    CONTENT_ENCODING = "content_encoding"
    CONTENT_DISPOSITION = "content_disposition"
    CONTENT_LANGUAGE = "content_language"
    CACHE_CONTROL = "cache_control"
    EXPIRES = "expires"
    METADATA = "metadata"
    TAGS = "tags"
    REDIRECT = "redirect"
    PUBLIC_READ = "public_read"
    ACL = "acl"  # grants beyond public-read
    STORAGE_CLASS = "storage_class"
    ENCRYPTION = "encryption"  # under a key of the store's own (SSE-S3)
    KMS = "kms"  # under a key of a key service (SSE-KMS)
    CHECKSUM = "checksum"
    RETENTION = "retention"
    LEGAL_HOLD = "legal_hold"
    LAST_MODIFIED = "last_modified"


_A = Attribute
# What whoever GETs the object can see; the rest is its owner's business.
READERS = frozenset({_A.CONTENT_TYPE, _A.CONTENT_ENCODING, _A.CONTENT_DISPOSITION, _A.CONTENT_LANGUAGE, _A.CACHE_CONTROL, _A.EXPIRES}) | {
    _A.METADATA,
    _A.TAGS,
    _A.REDIRECT,
    _A.PUBLIC_READ,
}


class Rule(StrEnum):
    """What the operator wishes where an attribute cannot be kept."""

    KEEP = "keep"  # the object is parked
    WARN = "warn"  # it is moved without, and the loss is on record
    FAIL = "fail"  # no run is started on such an endpoint; an object that would lose it all the same is parked
    IGNORE = "ignore"  # no object has it, or nobody minds: no request is sent for its sake, so that its loss may be on no record


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's rules, of which REKEY_FIDELITY names those that differ from the default."""

    rules: Mapping[Attribute, Rule] = field(default_factory=dict)

    @staticmethod
    @lru_cache(maxsize=32)
    def parse(text: str) -> Policy:
        """From ``acl=keep,tags=warn``; ``readers``, ``owners`` and ``all`` name several, and what comes later counts.

        Raises:
            ValueError: It is nothing like that.
        """
        rules: dict[Attribute, Rule] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, rule = part.partition("=")
            members = _GROUPS.get(name.strip())
            if members is None or rule.strip() not in set(Rule):
                raise ValueError(
                    f"{part!r} is no rule: give NAME=keep, NAME=warn, NAME=fail or NAME=ignore, with commas between them; "
                    f"the names are {', '.join(_GROUPS)}"
                )
            rules |= dict.fromkeys(members, Rule(rule.strip()))
        return Policy(rules)

    def rule(self, attribute: Attribute) -> Rule:
        """What holds for *attribute*: parked where readers would see the loss, else told."""
        return self.rules.get(attribute, Rule.KEEP if attribute in READERS else Rule.WARN)

    def parking(self, lost: Iterable[Attribute]) -> list[Attribute]:
        """Those of *lost* for which an object is parked."""
        return in_order(one for one in lost if not self.lets_go(one))

    def lets_go(self, attribute: Attribute) -> bool:
        """Whether an object may be moved without *attribute*."""
        return self.rule(attribute) in {Rule.WARN, Rule.IGNORE}

    def lenient(self) -> Policy:
        """Where bytes are at stake: nothing is parked for what goes with them, and what nobody minds is not asked for here either."""
        return Policy({one: Rule.WARN if self.minds(one) else Rule.IGNORE for one in Attribute})

    def minds(self, attribute: Attribute) -> bool:
        """Whether it is asked for at all what an object has of *attribute*."""
        return self.rule(attribute) is not Rule.IGNORE


_GROUPS: dict[str, frozenset[Attribute]] = {
    **{str(one): frozenset({one}) for one in Attribute if one is not _A.LAST_MODIFIED},
    "readers": READERS,
    "owners": frozenset(Attribute) - READERS,
    "all": frozenset(Attribute),
}


def in_order(attributes: Iterable[Attribute]) -> list[Attribute]:
    """*attributes* in the order in which they are shown."""
    wanted = set(attributes)
    return [one for one in Attribute if one in wanted]


def names(attributes: Iterable[Attribute]) -> str:
    """*attributes* as the ledger has them, and as a person reads them."""
    return ",".join(in_order(attributes))
