"""Small HTTP requests to addresses of the operator's: one attempt, an answer in time, TLS verified.

The status is all that is wanted, so an answer that ends with its connection (HTTP/1.0) is as good as one that tells its length.
Nothing in here names an address, since it may hold keys.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from app.clock import BootClock
from app.errors import StoreUnavailableError, TransientError, UnansweredError
from app.s3_http import SocketTransport

ANSWER_BYTES = 65_536
OK = range(200, 300)


def ask(method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None, seconds: float) -> int:
    """Send one request and give the status of the answer, or 0 where none came in time."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    endpoint = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = dict(headers or {})
    if parts.username is not None:
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        sent["authorization"] = f"Basic {b64encode(who.encode()).decode()}"
    transport = SocketTransport(endpoint, clock=BootClock(), keep=1, whole=False)
    try:
        return transport.send(method, target, sent, body, timeout=seconds, max_body=ANSWER_BYTES).status
    except (StoreUnavailableError, UnansweredError, TransientError, OSError, ValueError):
        return 0
    finally:
        transport.close()
