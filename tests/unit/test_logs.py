"""Log lines: their form, their extras, and what never stands in them."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import pytest

from app import logs
from app.redaction import mask_url, redact

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stream() -> io.StringIO:
    """What was logged; the root logger is as before afterwards."""
    return io.StringIO()


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> object:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_text_line_has_utc_time_level_message_and_extras(stream: io.StringIO) -> None:
    """One line, the extras at its end, odd values quoted."""
    logs.setup("text", level="info", stream=stream)

    logging.getLogger("app.x").info("copied %s", "a b\n.png", extra={"action": "object_copied", "move_id": 7, "key": "a b\n.png"})

    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO copied a b \.png action=object_copied move_id=7 key="a b\\n\.png"\n',
        stream.getvalue(),
    )


def test_json_line_is_one_object_with_the_extras(stream: io.StringIO) -> None:
    """Each record is one line of JSON, whatever the values are."""
    logs.setup("json", level="info", stream=stream)

    logging.getLogger("app.x").warning("parked %s", "é", extra={"action": "move_parked", "ids": (1, 2), "path": Path("a")})

    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    expected = {"level": "warning", "logger": "app.x", "message": "parked é", "action": "move_parked", "ids": [1, 2], "path": "a"}
    assert found == expected


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_logged(log_format: str, stream: io.StringIO) -> None:
    """Not in the message, its arguments, the extras or a traceback (S10)."""
    logs.setup(log_format, level="info", secrets=["k3y-of-the-store"], stream=stream)  # type: ignore[arg-type]
    log = logging.getLogger("app.x")

    log.info("broker %s", "redis://:pa/ss@host:6379/0", extra={"url": "postgresql://app:hunter22@db/app", "key": "k3y-of-the-store"})
    log.info("opened postgresql://app:hunter22@db/app", extra={"nested": {"key": ["k3y-of-the-store"]}})
    try:
        int("no number: k3y-of-the-store at redis://u:hunter22@host")
    except ValueError:
        log.exception("it broke")

    text = stream.getvalue()
    assert "Traceback" in text
    assert "postgresql://app:***@db/app" in text
    assert [secret for secret in ("hunter22", "k3y-of-the-store") if secret in text] == []


def test_setup_again_replaces_the_handler(stream: io.StringIO) -> None:
    """Two calls do not double the lines."""
    logs.setup("text", level="info", stream=io.StringIO())
    logs.setup("text", level="warning", stream=stream)

    logging.getLogger("app.x").info("unseen")
    logging.getLogger("app.x").warning("seen")

    assert len(stream.getvalue().splitlines()) == 1


def test_logged_actions_are_those_of_the_closed_list() -> None:
    """A search for an action finds all of its events: the code names no others, and each that is listed can come."""
    named_by = re.compile(r'\baction(?:":|: str =| =) "(\w+)"')
    folders = (ROOT / name for name in ("app", "tasks", "workers"))
    texts = (path.read_text() for folder in folders for path in folder.rglob("*.py") if path.name != "logs.py")
    named = {action for text in texts for action in named_by.findall(text)}

    assert named == set(logs.ACTIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql://app:s%40cret@db/app is down", "postgresql://app:***@db/app is down"),
        ("postgresql://app:a@b@db/app", "postgresql://app:***@db/app"),
        ("http://host:9000/bucket", "http://host:9000/bucket"),
        ("GET /a?X-Amz-Signature=abc123&x=1", "GET /a?X-Amz-Signature=***&x=1"),
        ("connection failed: password=abc host=db", "connection failed: password=*** host=db"),
        ("client 7: redis://host/0, me@example.com", "client 7: redis://host/0, me@example.com"),
    ],
)
def test_redact_takes_passwords_out_and_nothing_else(text: str, expected: str) -> None:
    """URLs lose their password, telling parameters their value."""
    assert redact(text) == expected


def test_mask_url_drops_the_query() -> None:
    """A query may hold a password too, and a password may hold a question mark."""
    assert mask_url("postgresql://app@db/app?password=x&sslmode=require") == "postgresql://app@db/app"
    assert mask_url("redis://:a?b@host/0?x=1") == "redis://:***@host/0"
