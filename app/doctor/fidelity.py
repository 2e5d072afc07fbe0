"""What becomes of what an object has besides its bytes, at this endpoint and with these credentials: as findings and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.fidelity import Fate, Way, fate_of, unkept, ways_of
from app.fidelity_rules import READERS, Attribute, Rule, in_order, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.doctor.findings import Findings
    from app.object_store import Capabilities
    from app.settings import Settings

_WORDS = {
    Fate.KEPT: "kept by the store",
    Fate.SENT: "sent again by us",
    Fate.LOST: "cannot be kept",
    Fate.DENIED: "not allowed to us",
    Fate.ABSENT: "no object has it",
    Fate.UNSEEN: "hidden from us",
}
_HEADS = {Way.COPY: "CopyObject", Way.PUT: "GET + PUT", Way.PARTS: "parts"}


def check_fidelity(settings: Settings, seen: Capabilities, found: Findings) -> None:
    """Say what the ways that a run would go cannot keep, and what would come of that."""
    ways, policy = ways_of(seen, copy_mode=settings.copy_mode), settings.fidelity_policy
    refused = unkept(seen.fidelity, ways, policy)
    if refused:
        found.problem(
            f"REKEY_FIDELITY wants no run where these cannot be kept: {names(refused)}",
            remedy="allow the credentials to set them, or take another rule for them",
        )
    lost = [one for one in Attribute if one is not Attribute.LAST_MODIFIED and any(_is_lost(seen, way, one) for way in ways)]
    parked, told = policy.parking(lost), in_order(one for one in lost if policy.rule(one) is Rule.WARN)
    if parked:
        found.note(f"objects may lose these (rule keep) on some way: {names(parked)}")
    unseen = in_order(one for one in lost if not policy.minds(one))
    if unseen:
        found.note(f"objects may lose these (rule ignore) on some way, and it is on no record: {names(unseen)}")
    if told:
        found.note(f"objects may lose these (rule warn) on some way: {names(told)}")
    if not lost:
        found.ok("all that an object has besides its bytes arrives, but for the time of its last change (which the report keeps)")


def fidelity_lines(settings: Settings, seen: Capabilities) -> Iterator[str]:
    """The table, attribute by way."""
    if not seen.fidelity:
        return
    used = ways_of(seen, copy_mode=settings.copy_mode)
    yield ""
    yield f"{'What an object has':<21}{'seen by':<9}{'rule':<8}" + "".join(
        f"{_HEADS[way] + (' *' if way in used else ''):<19}" for way in Way
    )
    for one in Attribute:
        last = one is Attribute.LAST_MODIFIED
        rule = "" if last else settings.fidelity_policy.rule(one)
        fates = "".join(f"{_WORDS[fate_of(seen.fidelity, way, one)]:<19}" for way in Way)
        yield f"{one:<21}{'readers' if one in READERS else 'owners':<9}{rule:<8}{fates}".rstrip()
    yield "* the ways of a run with these settings"


def _is_lost(seen: Capabilities, way: Way, attribute: Attribute) -> bool:
    return fate_of(seen.fidelity, way, attribute) in {Fate.LOST, Fate.DENIED, Fate.UNSEEN}
