"""Assets that cannot be moved, each for a reason that the run must find: planted by ``rekey demo --with-problems``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.demo.service import Asset, Bucket, Table, new_key, old_key, upload
from app.states import ParkedReason

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENT = 1
COLLISIONS = 3
_MISSING = ("missing-1.png", "missing-2.png")
_OCCUPIED = "occupied.png"
_ODD_NAMES: tuple[tuple[str | bytes | None, ParkedReason], ...] = (
    (None, ParkedReason.BAD_NAME),
    ("", ParkedReason.BAD_NAME),
    (" ", ParkedReason.BAD_NAME),
    (".", ParkedReason.BAD_NAME),
    ("..", ParkedReason.BAD_NAME),
    ("../../2/assets/theirs.png", ParkedReason.BAD_NAME),
    ("/absolute.png", ParkedReason.BAD_NAME),
    ("2024//double.png", ParkedReason.BAD_NAME),
    ("nul\0.png", ParkedReason.BAD_NAME),
    (b"latin-1 \xe9.png", ParkedReason.BAD_NAME),
    ("long" * 75 + ".png", ParkedReason.TOO_LONG),
    ("\u0995" * 90 + ".png", ParkedReason.TOO_LONG),  # 90 letters, but 274 bytes
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """What was planted: the assets, the reasons that must be found, and an object that is not the service's."""

    assets: list[Asset]
    reasons: Counter[str]
    foreign: list[Asset]


def plant(table: Table, bucket: Bucket, assets: Sequence[Asset], *, next_id: int) -> Planted:
    """Add rows that collide, rows without an object, rows with odd names, and one whose new key is taken."""
    twins = [asset for asset in assets if not asset.fixed][:COLLISIONS]
    wanted: list[tuple[int, str | bytes | None, ParkedReason]] = []
    for twin in twins:
        twin.fixed = True  # removed before it is planned, it would leave its name to the other
        wanted.append((twin.client, twin.name, ParkedReason.COLLISION))
    wanted += [(CLIENT, name, ParkedReason.MISSING_SOURCE) for name in _MISSING]
    wanted += [(CLIENT, _OCCUPIED, ParkedReason.TARGET_EXISTS)]
    wanted += [(CLIENT, name, reason) for name, reason in _ODD_NAMES]
    planted: list[Asset] = []
    rows: list[tuple[int, int, str | bytes | None, str, str]] = []
    for number, (client, name, reason) in enumerate(wanted, start=next_id):
        key = old_key(number, "planted.png")
        asset = Asset(id=number, client=client, name=f"{name!r}", first_key=key, fixed=True)
        if reason is not ParkedReason.MISSING_SOURCE:
            upload(bucket, asset, f"planted {number}\n".encode(), "image/png", key=key)
            asset.settled = True
        planted.append(asset)
        rows.append((number, client, name, "image/png", key))
    foreign = Asset(id=0, client=CLIENT, name=_OCCUPIED, first_key=new_key(CLIENT, _OCCUPIED), settled=True)
    upload(bucket, foreign, b"somebody else's\n", "text/plain", key=foreign.first_key)
    table.insert(rows)
    return Planted(assets=planted, reasons=Counter(str(reason) for _, _, reason in wanted), foreign=[foreign])
