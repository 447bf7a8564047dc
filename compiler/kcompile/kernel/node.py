"""Observe and apply node resources (targets/node.py): sysctls and health check ports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..plan.diff import Change
from ..targets.base import Key, Program
from . import health, sysctl
from .state import NodeState

__all__ = ["NodeResources"]


class NodeResources:
    """The node resources of the current namespace; `directory` is its run directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = NodeState.load(directory)

    def goal(self, desired: Program) -> dict[Key, Any]:
        """`desired`, and the old value of every sysctl that we set and nobody needs or has changed since."""
        goal = dict(desired)
        for name, old in self.state.sysctls.items():
            goal.setdefault(("sysctl", name), old)
        return goal

    def observe(self, goal: Program) -> dict[Key, Any]:
        """The present values of the sysctls in `goal`, and the health check ports that are answered."""
        found: dict[Key, Any] = {}
        for key in goal:
            if key[0] == "sysctl" and (value := sysctl.read(key[1])) is not None:
                found[key] = value
        for check in health.running(self.directory):
            found[("health", check.port)] = check
        return found

    def apply(self, changes: Iterable[Change], desired: Program) -> list[str]:
        """Make `changes` true; returns warnings. Old values are on disk before a sysctl is first touched."""
        sysctls = [c for c in changes if c.key[0] == "sysctl"]
        for change in sysctls:
            if change.key in desired and change.old is not None:
                self.state.sysctls.setdefault(change.key[1], change.old)
        if sysctls:
            self.state.save(self.directory)
        for change in sysctls:
            sysctl.write(change.key[1], change.new)
        for change in sysctls:
            if change.key not in desired:
                self.state.sysctls.pop(change.key[1], None)
        # What somebody else has put back meanwhile needs no change of ours, only forgetting.
        stale = [n for n, old in self.state.sysctls.items() if ("sysctl", n) not in desired and sysctl.read(n) == old]
        for name in stale:
            del self.state.sysctls[name]
        if sysctls or stale:
            self.state.save(self.directory)
        if any(c.key[0] == "health" for c in changes):
            return health.serve(self.directory, [v for k, v in desired.items() if k[0] == "health"])
        return []
