"""Removes a mode after another one took over: at once; mode ipvs, as its connections end."""

from __future__ import annotations

from ..program import Change, Program
from .drivers import Driver

__all__ = ["drains", "plan_removal", "remove", "reroute_new_connections"]


def plan_removal(driver: Driver, held: Program) -> tuple[Change, ...]:
    """The changes that remove `held`, except what open connections still need.

    `held`: the Program of `driver`'s mode, as observed. Only connections of mode ipvs need something; those
    of the other modes live in conntrack alone.
    """
    if not drains(driver):
        return driver.target.diff(held, {})
    from ..targets.ipvs.leaving import remainder

    return driver.target.diff(held, remainder(held))


def drains(driver: Driver) -> bool:
    """True if open connections need the mode's rules, so that these are removed as the connections end."""
    return driver.name == "ipvs"


def reroute_new_connections(driver: Driver, held: Program) -> None:
    """Call before the new mode's rules go in: after it, no new connection uses an address that this mode is
    about to remove.
    """
    if drains(driver):
        from .ipvs.sources import prefer_node_address

        prefer_node_address(held)


def remove(driver: Driver, held: Program) -> int:
    """Remove `held`; returns how many open connections still need a part of it.

    A later call removes the rest.
    """
    from ..targets.ipvs.resources import RealServerKey

    driver.apply(plan_removal(driver, held))
    if not drains(driver):
        return 0
    # only now, without new connections, are the numbers of connections final
    left = driver.observe()
    if changes := plan_removal(driver, left):
        driver.apply(changes)
        left = driver.observe()
    return sum(server.connections for key, server in left.items() if isinstance(key, RealServerKey))
