"""What a run will take: requests by class, what they cost, bytes and time. Every assumption is said beside its figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.copying import MOSTLY_SMALL, SNOWBALL_OBJECTS
from app.errors import UsageError
from app.ledger.saved_plans import PastRate
from app.plan.matching import Sizes
from app.plan.scanning import Locality
from app.settings import Settings

CLASSES = ("PUT", "GET", "HEAD", "LIST", "DELETE")
BILLED_AS = {"HEAD": "GET", "LIST": "PUT"}  # by S3; what deletes cost is nothing, unless a price is given
ASSUMED_ROWS_PER_SECOND = 600  # measured on two cores with objects of 4 KiB (FACTS.md); another machine has another
ASSUMED_BYTES_PER_SECOND = 50_000_000
DELETES_A_REQUEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done, as counted."""

    rows: int  # to be moved
    sizes: Sizes
    old_keys: Locality
    new_keys: Locality
    tagged_share: float
    copies_by_store: bool
    by_snowballs: bool = False  # small ones go several at a time, read by the worker, where nearly all are (app.stages.snowballs)
    heads_first: bool = False  # CopyObject may lose what only a HEAD of the source tells: that is the look at it then
    reads_acls: bool = False  # objects have ACLs of their own, each asked for by a GET

    @property
    def together(self) -> tuple[int, int]:
        """Rows whose objects go with others in one request, and the bytes of these."""
        sizes = self.sizes
        are_most = self.by_snowballs and sizes.small > MOSTLY_SMALL * sizes.rows
        return (sizes.small, sizes.bytes_small) if are_most else (0, 0)


def requests(work: Work, settings: Settings) -> dict[str, int]:
    """Requests of a run without hindrance, by the class that they are billed in (a multipart upload's POSTs are PUTs)."""
    rows, sizes = work.rows, work.sizes
    share = rows / sizes.rows if sizes.rows else 0.0  # those that collide are not copied
    big, multi = share * sizes.in_parts, share * sizes.renamed_etags
    after = math.floor(math.log2(settings.grace_seconds / settings.look_seconds + 1)) + 1  # looks after the switch, doubling
    rolled = share * work.together[0]
    alone = rows - rolled
    heads = alone if work.copies_by_store and work.heads_first else 0.0
    at_old = rows * (1 + after) + alone * work.copies_by_store - heads
    at_new = rows * (1 + after)
    lists_old, heads_old = work.old_keys.requests(at_old)
    lists_new, heads_new = work.new_keys.requests(at_new)
    deletes = rows / max(1, min(settings.batch_size, DELETES_A_REQUEST))
    found = {
        "PUT": alone - big + rolled / SNOWBALL_OBJECTS + share * sizes.parts + 2 * big + deletes * settings.journal,
        "GET": (big + rolled if work.copies_by_store else rows) + work.tagged_share * rows + rows * work.reads_acls,
        "HEAD": heads_old + heads_new + big + max(0.0, multi - big) + heads,
        "LIST": lists_old + lists_new,
        "DELETE": deletes,
    }
    return {name: math.ceil(found[name]) for name in CLASSES}


def traffic(work: Work) -> dict[str, int]:
    """Bytes that the workers read and write, and those that the store copies by itself."""
    share = work.rows / work.sizes.rows if work.sizes.rows else 0.0
    whole, in_parts = round(share * work.sizes.bytes), round(share * work.sizes.bytes_in_parts)
    small = round(share * work.together[1])
    through = small if work.copies_by_store else whole - in_parts
    return {"bytes_read": through, "bytes_written": through, "bytes_copied_by_store": whole - through}


def parse_prices(text: str | None) -> dict[str, float] | None:
    """Prices of 1000 requests from ``put=0.005,get=0.0004``.

    Raises:
        UsageError: It is nothing like that.
    """
    if text is None:
        return None
    prices: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            price = float(value)
        except ValueError:
            price = math.nan
        if name.upper() not in CLASSES or not 0 <= price < math.inf or name.upper() in prices:
            known = ", ".join(map(str.lower, CLASSES))
            raise UsageError(f"--price-per-1000: {part.strip()!r} is no price: give each of {known} once at most, as put=0.005,get=0.0004")
        prices[name.upper()] = price
    return prices


def cost(counted: Mapping[str, int], prices: Mapping[str, float] | None) -> dict[str, Any] | None:
    """What *counted* requests cost; a HEAD as a GET and a LIST as a PUT unless they have prices of their own, a DELETE nothing."""
    if prices is None:
        return None
    used = {name: prices.get(name, prices.get(BILLED_AS.get(name, ""), 0.0)) for name in CLASSES}
    by_class = {name: round(counted[name] * used[name] / 1000, 6) for name in CLASSES}
    return {"total": round(sum(by_class.values()), 6), "by_class": by_class, "per_1000": used}


def duration(work: Work, *, rate: PastRate | None, settings: Settings) -> dict[str, Any]:
    """How long it will take until the last row is switched, and until the last old object may go."""
    bounds = [bound for bound in (settings.copy_rate, settings.rename_rate) if bound]
    if rate is not None:
        per_second, basis = rate.rows_per_second, f"run {rate.run_id[:8]} switched {rate.rows} rows at this rate"
        seconds = work.rows / per_second
    else:
        per_second = float(ASSUMED_ROWS_PER_SECOND)
        basis = (
            f"assumed, not measured here: {ASSUMED_ROWS_PER_SECOND} rows and {ASSUMED_BYTES_PER_SECOND // 10**6} MB a second; "
            "this ledger has no finished run of a hundred rows or more to go by"
        )
        seconds = max(work.rows / per_second, traffic(work)["bytes_read"] / ASSUMED_BYTES_PER_SECOND)
    if bounds and min(bounds) < per_second:
        per_second, basis = float(min(bounds)), "bounded by REKEY_COPY_RATE or REKEY_RENAME_RATE"
        seconds = max(seconds, work.rows / per_second)
    deleting = work.rows / settings.delete_rate if settings.delete_rate else 0.0
    return {
        "seconds_to_switch": round(seconds),
        "seconds_in_all": round(max(seconds, deleting) + settings.grace_seconds) if work.rows else 0,
        "rows_per_second": round(per_second, 1),
        "measured": rate is not None,
        "basis": basis,
    }
