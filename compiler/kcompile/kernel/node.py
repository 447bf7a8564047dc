"""Observe and apply node resources (targets/node.py): sysctls, timeouts of IPVS and health check ports."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import KernelError
from ..notices import Notice
from ..program import Change, Key, Program
from ..targets.node import HealthKey, SysctlKey, TimeoutKey, ValueKey
from . import health, sysctl
from .ipvs import timeouts
from .state import NodeState

__all__ = ["NodeResources"]

# what has a value that was there before us
_READ = {SysctlKey: sysctl.read, TimeoutKey: timeouts.read}
_WRITE = {SysctlKey: sysctl.write, TimeoutKey: timeouts.write}


class NodeResources:
    """The node resources of the current namespace; `directory` is its run directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = NodeState.load(directory)
        self._before: dict[type[ValueKey], dict[str, str]] = {
            SysctlKey: self.state.sysctls,
            TimeoutKey: self.state.ipvs_timeouts,
        }

    def goal(self, desired: Program) -> dict[Key, Any]:
        """`desired`, and the old value of all that we set and nobody needs or has changed since."""
        goal = dict(desired)
        for kind, before in self._before.items():
            for name, old in before.items():
                goal.setdefault(kind(name), old)
        return goal

    def has_set(self, key: Key) -> bool:
        """Whether the sysctl or timeout `key` has a value from us, and its old one is remembered."""
        return isinstance(key, ValueKey) and key.name in self._before[type(key)]

    def observe(self, goal: Program) -> dict[Key, Any]:
        """The present values of the sysctls and timeouts in `goal`, and the health check ports that are
        answered.
        """
        found: dict[Key, Any] = {}
        for key in goal:
            if isinstance(key, ValueKey) and (value := _READ[type(key)](key.name)) is not None:
                found[key] = value
        for check in health.running(self.directory):
            found[HealthKey(check.port)] = check
        return found

    def apply(self, changes: Sequence[Change], desired: Program) -> list[Notice]:
        """Make `changes` true; returns warnings. Old values are on disk before anything is first touched.

        What is only put back is put back also where nothing can be written.
        """
        values = [(change.key, change) for change in changes if isinstance(change.key, ValueKey)]
        new = [
            (k, c)
            for k, c in values
            if k in desired and c.old is not None and k.name not in self._before[type(k)]
        ]
        for key, change in new:
            self._before[type(key)][key.name] = change.old
        if new:
            self.state.save(self.directory)
        warnings = (
            self._answer(desired) if any(isinstance(change.key, HealthKey) for change in changes) else []
        )
        for key, change in values:
            _WRITE[type(key)](key.name, change.new)
        for key, _ in values:
            if key not in desired:
                self._before[type(key)].pop(key.name, None)
        # What somebody else has put back meanwhile needs no change of ours, only forgetting.
        stale = [
            (kind, name)
            for kind, before in self._before.items()
            for name, old in before.items()
            if kind(name) not in desired and _READ[kind](name) == old
        ]
        for kind, name in stale:
            del self._before[kind][name]
        if values or stale:
            with contextlib.suppress(KernelError):  # it says too much then: that these were once set
                self.state.save(self.directory)
        return warnings

    def _answer(self, desired: Program) -> list[Notice]:
        return health.serve(
            self.directory, [check for key, check in desired.items() if isinstance(key, HealthKey)]
        )
