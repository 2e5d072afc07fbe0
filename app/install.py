"""Whether the packages that Python finds as ``app``, ``tasks`` and ``workers`` are the three of this product.

The names are common: in a folder with a ``tasks`` of its own a worker would start with none of our tasks and discard our messages.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from app.errors import UsageError

HOME = Path(__file__).resolve().parent.parent
_PACKAGES = ("app", "tasks", "workers")


def check() -> None:
    """See that all three packages lie beside each other.

    Raises:
        UsageError: One of them is somebody else's, or is missing.
    """
    for name in _PACKAGES:
        spec = find_spec(name)
        origin = spec.origin if spec else None
        if origin is None or Path(origin).resolve().parent.parent != HOME:
            place = Path(origin).parent if origin else "no such package"
            raise UsageError(
                f"the package {name!r} found is not this product's ({place}): start from a folder without a {name!r} of its own"
            )
