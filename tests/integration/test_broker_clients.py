"""A channel's commands go over one client, until its connections are given up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tests.servers import RedisServer
from workers import broker_clients  # noqa: F401 - it replaces by itself


@pytest.fixture
def connection(redis_server: RedisServer) -> Iterator[Any]:
    """A connection of kombu's."""
    with Celery("test", broker=redis_server.url, set_as_current=False).connection_for_write() as made:
        yield made


def test_channel_keeps_its_client_while_it_keeps_its_connections(connection: Any) -> None:  # noqa: ANN401 - kombu's
    """The one that waits for messages is not shared: its answer comes when it will."""
    channel = connection.default_channel
    with channel.conn_or_acquire() as one, channel.conn_or_acquire() as other:
        assert one is other
        assert channel.client is not one

    channel._disconnect_pools()
    with channel.conn_or_acquire() as after:
        assert after is not one
        assert after.ping()


def test_channels_share_none(connection: Any) -> None:  # noqa: ANN401 - as above
    """Each has its own connections."""
    one, other = connection.default_channel, connection.channel()
    with one.conn_or_acquire() as mine, other.conn_or_acquire() as its:
        assert mine is not its
