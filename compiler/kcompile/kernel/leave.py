"""Takes a mode off a node on which another one has taken over: all at once, but in mode ipvs as its
connections end.
"""

from __future__ import annotations

from ..program import Change, Program
from .drivers import Driver

__all__ = ["departure", "is_left_slowly", "leave", "prepare"]


def departure(driver: Driver, held: Program) -> tuple[Change, ...]:
    """The changes that take off `held`, what the node has of `driver`'s mode, less what open connections
    through it still need.

    Connections of the other modes live in conntrack alone.
    """
    if not is_left_slowly(driver):
        return driver.target.diff(held, {})
    from ..targets.ipvs.leaving import remainder

    return driver.target.diff(held, remainder(held))


def is_left_slowly(driver: Driver) -> bool:
    """Whether open connections need what the mode has put on the node, so that it goes as they end."""
    return driver.name == "ipvs"


def prepare(driver: Driver, held: Program) -> None:
    """Call before the new mode's rules go in: after it, no new connection uses an address that this mode is
    about to remove.
    """
    if is_left_slowly(driver):
        from .ipvs.sources import give

        give(held)


def leave(driver: Driver, held: Program) -> int:
    """Take off `held`; returns how many connections keep something of it there.

    A later call goes on from there.
    """
    from ..targets.ipvs.resources import RealServerKey

    changes = departure(driver, held)
    driver.apply(changes)
    if not is_left_slowly(driver):
        return 0
    left = driver.observe()  # which servers have connections is known once they get no new ones
    if changes := departure(driver, left):
        driver.apply(changes)
        left = driver.observe()
    return sum(server.connections for key, server in left.items() if isinstance(key, RealServerKey))
