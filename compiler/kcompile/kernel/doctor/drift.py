"""Drift: the dataplane of the last apply, lowered again, compared with what the kernel holds."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ...ir.model import Dataplane
from ...program import Change, diff
from ...targets.flowtable import lower_flowtable
from ...targets.xdp.resources import AttachKey, InterfaceKey, StrayKey
from .. import flowtable
from ..drivers import Driver, driver_for
from ..remember import recall

__all__ = ["changed_rules"]

_OF_INTERFACES = ("interfaces", "links")


def changed_rules(directory: Path) -> int:
    """How many resources of the last applied mode differ from that apply; 0 if no apply is recorded."""
    applied = recall(directory)
    if applied is None:
        return 0
    driver = driver_for(applied.mode, None, directory)
    desired = driver.target.lower(_supported(driver, applied.dataplane))
    rules = _settled(driver.target.diff(driver.observe(), desired))
    goal = flowtable.expanded(lower_flowtable(applied.dataplane, applied.mode))
    return len(rules) + len(diff(flowtable.observe(), goal))


def _supported(driver: Driver, dataplane: Dataplane) -> Dataplane:
    """`dataplane` without the IP versions that this kernel lacks, as apply does."""
    families = driver.families()
    return msgspec.structs.replace(
        dataplane, ports=tuple([p for p in dataplane.ports if p.family.value in families])
    )


def _settled(changes: Sequence[Change]) -> list[Change]:
    """`changes` without those of mode xdp that only come from an interface that no longer exists."""
    here = {name for _, name in socket.if_nameindex()}

    def of_an_interface_that_went(change: Change) -> bool:
        match change.key:
            case InterfaceKey(name):
                return name not in here
            case AttachKey(_, name):
                return change.new not in (None, "cgroup") and name not in here
            case StrayKey(name):
                return name in _OF_INTERFACES
        return False

    return [change for change in changes if not of_an_interface_that_went(change)]
