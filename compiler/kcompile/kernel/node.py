"""Observe and apply node resources (targets/node.py): sysctls, timeouts of IPVS and health check ports."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import KernelError
from ..notices import Notice
from ..plan.diff import Change
from ..targets.base import Key, Program
from . import health, ipvs_timeouts, sysctl
from .state import NodeState

__all__ = ["NodeResources"]

# what has a value that was there before us
_READ = {"sysctl": sysctl.read, "ipvs timeout": ipvs_timeouts.read}
_WRITE = {"sysctl": sysctl.write, "ipvs timeout": ipvs_timeouts.write}


class NodeResources:
    """The node resources of the current namespace; `directory` is its run directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = NodeState.load(directory)
        self._before = {"sysctl": self.state.sysctls, "ipvs timeout": self.state.ipvs_timeouts}

    def goal(self, desired: Program) -> dict[Key, Any]:
        """`desired`, and the old value of all that we set and nobody needs or has changed since."""
        goal = dict(desired)
        for kind, before in self._before.items():
            for name, old in before.items():
                goal.setdefault((kind, name), old)
        return goal

    def has_set(self, key: Key) -> bool:
        """Whether the sysctl or timeout `key` has a value from us, and its old one is remembered."""
        return key[1] in self._before.get(key[0], {})

    def observe(self, goal: Program) -> dict[Key, Any]:
        """The present values of the sysctls and timeouts in `goal`, and the health check ports that are answered."""
        found: dict[Key, Any] = {}
        for key in goal:
            if key[0] in _READ and (value := _READ[key[0]](key[1])) is not None:
                found[key] = value
        for check in health.running(self.directory):
            found[("health", check.port)] = check
        return found

    def apply(self, changes: Sequence[Change], desired: Program) -> list[Notice]:
        """Make `changes` true; returns warnings. Old values are on disk before anything is first touched.

        What is only put back is put back also where nothing can be written.
        """
        values = [c for c in changes if c.key[0] in _WRITE]
        new = [c for c in values if c.key in desired and c.old is not None and c.key[1] not in self._before[c.key[0]]]
        for change in new:
            self._before[change.key[0]][change.key[1]] = change.old
        if new:
            self.state.save(self.directory)
        warnings = self._answer(desired) if any(c.key[0] == "health" for c in changes) else []
        for change in values:
            _WRITE[change.key[0]](change.key[1], change.new)
        for change in values:
            if change.key not in desired:
                self._before[change.key[0]].pop(change.key[1], None)
        # What somebody else has put back meanwhile needs no change of ours, only forgetting.
        stale = [
            (kind, name)
            for kind, before in self._before.items()
            for name, old in before.items()
            if (kind, name) not in desired and _READ[kind](name) == old
        ]
        for kind, name in stale:
            del self._before[kind][name]
        if values or stale:
            with contextlib.suppress(KernelError):  # it says too much then: that these were once set
                self.state.save(self.directory)
        return warnings

    def _answer(self, desired: Program) -> list[Notice]:
        return health.serve(self.directory, [value for key, value in desired.items() if key[0] == "health"])
