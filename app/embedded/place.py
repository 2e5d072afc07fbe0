"""Where a server listens and what its clients must know: drawn once, kept as long as the server's data."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from app.embedded.server import free_ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Loopback ports and credentials of one server."""

    ports: tuple[int, ...]
    user: str
    secret: str = field(repr=False)

    @classmethod
    def draw(cls, port_count: int) -> Place:
        """Free ports and random credentials."""
        return cls(ports=free_ports(port_count), user=f"rekey-{secrets.token_hex(4)}", secret=secrets.token_urlsafe(24))
