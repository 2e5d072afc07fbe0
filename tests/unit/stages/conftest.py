"""The world of the stage tests, on stores that honour all conditions and on one that does not."""

from tests.worlds import behaviour, no_waiting, world

__all__ = ["behaviour", "no_waiting", "world"]
