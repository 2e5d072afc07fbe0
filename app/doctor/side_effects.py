"""What each copy and each delete of a run will set off in the bucket, beyond the objects themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from app.doctor.findings import Finding, Findings
from app.errors import DeniedError, ObjectError
from app.s3_bucket import REMOVING

if TYPE_CHECKING:
    from app.s3_bucket import Lifecycle, Notice, Replication

_Rule = TypeVar("_Rule")
Told = str | tuple[str, str]  # what is worth knowing; or what must be mended, and how


class ObservedStore(Protocol):
    """What a bucket tells of its own settings."""

    def notices(self) -> Sequence[Notice]:
        """Who is told of events."""

    def lifecycle(self) -> Sequence[Lifecycle]:
        """What becomes of objects in time."""

    def replication(self) -> Sequence[Replication]:
        """Where objects are copied to."""

    def quota(self) -> int | None:
        """Most bytes that the bucket may hold, None: no such bound."""

    def is_versioned(self) -> bool:
        """Whether a delete leaves a marker."""


def check_side_effects(store: ObservedStore, prefix: str | None) -> list[Finding]:
    """Name them. *prefix*: what all new keys begin with; None: they lie in another bucket.

    Raises the TransientErrors of the store.
    """
    found = Findings("side effects")
    known = [
        _named(found, "notifications", store.notices, lambda rules: _told(rules, prefix)),
        _named(found, "lifecycle rules", store.lifecycle, lambda rules: _aged(rules, prefix)),
        _named(found, "replication", store.replication, lambda rules: _replicated(rules, prefix)),
        _named(found, "quota", lambda: [store.quota()], _bounded),
        _named(found, "versioning", lambda: [store.is_versioned()], _versioned),
    ]
    if all(known) and not found:
        found.ok("a copy and a delete set off nothing: no notification, lifecycle rule, replication, quota or versioning")
    return found


def _named(found: Findings, what: str, ask: Callable[[], Sequence[_Rule]], say: Callable[[Sequence[_Rule]], Iterator[Told]]) -> bool:
    """Say what *ask* gives, or that it cannot be asked; whether it could."""
    try:
        rules = ask()
    except DeniedError as error:
        found.note(f"its {what} cannot be read with these credentials ({error.detail})", remedy=f"ask who owns the bucket for its {what}")
        return False
    except ObjectError as error:
        found.note(
            f"its {what} cannot be asked here ({error.detail})", remedy=f"see in the store's own tools whether there is a {what} setting"
        )
        return False
    for told in say(rules):
        if isinstance(told, str):
            found.note(told)
        else:
            found.problem(told[0], remedy=told[1])
    return True


def _touches(rule: str, prefix: str | None) -> bool:
    return prefix is not None and (rule.startswith(prefix) or prefix.startswith(rule))


def _below(prefix: str) -> str:
    return f"below {prefix!r}" if prefix else "anywhere in the bucket"


def _told(rules: Iterable[Notice], prefix: str | None) -> Iterator[str]:
    for rule in rules:
        ending = f", keys that end in {rule.suffix!r}," if rule.suffix else ""
        where = f"{_below(rule.prefix)}{ending}"
        if _touches(rule.prefix, prefix) and _any(rule.events, "ObjectCreated"):
            yield f"each copy sends a notification to {rule.target} ({', '.join(rule.events)} {where})"
        if _any(rule.events, "ObjectRemoved"):
            yield f"each delete of an old object {where} sends a notification to {rule.target} ({', '.join(rule.events)})"
        if _any(rule.events, "ObjectAccessed"):
            yield f"each read {where} sends a notification to {rule.target}: a run reads every object"


def _any(events: Iterable[str], kind: str) -> bool:
    return any(event in {"all events", "s3:*"} or kind in event for event in events)


def _aged(rules: Iterable[Lifecycle], prefix: str | None) -> Iterator[Told]:
    for rule in rules:
        some = " (of some: it asks for tags or sizes as well)" if rule.some else ""
        for act in rule.acts:
            text = f"a lifecycle rule {act} {_below(rule.prefix)}{some}"
            if not _touches(rule.prefix, prefix):
                yield f"{text}: it will not hold for assets that have moved from there, and goes on for those that have not"
                continue
            where = ", where new keys lie" if rule.prefix else ": each copy counts as new, so its time starts anew"
            yield (f"{text}{where}", "take the rule away, or narrow it") if act.startswith(REMOVING) else f"{text}{where}"


def _replicated(rules: Iterable[Replication], prefix: str | None) -> Iterator[str]:
    for rule in rules:
        if _touches(rule.prefix, prefix):
            yield f"each copy {_below(rule.prefix)} is replicated to {rule.target}: traffic and room there, once more"
        gone = "goes there too (as a marker)" if rule.deletes else "does not go there: the old object stays in the replica"
        yield f"a delete {_below(rule.prefix)} {gone} ({rule.target})"


def _bounded(quotas: Iterable[int | None]) -> Iterator[str]:
    yield from (
        f"a quota of {quota} bytes holds for the bucket: until the old objects go, a run needs room for each twice"
        for quota in quotas
        if quota
    )


def _versioned(answers: Iterable[bool]) -> Iterator[str]:
    yield from ("versioning is on: each delete lays a marker, and the old version keeps its room" for answer in answers if answer)
