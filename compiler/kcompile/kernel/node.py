"""Observes and applies node resources (targets/node.py): sysctls, IPVS timeouts, health check ports and
the flowtable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import KernelError
from ..notices import Notice
from ..program import Change, Key, Program
from ..targets.flowtable import FlowtableKey
from ..targets.node import HealthKey, SysctlKey, TimeoutKey, ValueKey, is_flowtable
from . import flowtable, health, sysctl
from .ipvs import timeouts
from .state import NodeState

__all__ = ["NodeResources"]

# resources with an old value to restore
_READ = {SysctlKey: sysctl.read, TimeoutKey: timeouts.read}
_WRITE = {SysctlKey: sysctl.write, TimeoutKey: timeouts.write}


class NodeResources:
    """The node resources of the current namespace; `directory` is its run directory.

    `answers`: the responder process (kernel/health.py) answers health checks. An agent answers them itself.
    `transactions`: how often `apply` has raised nf_tables' generation.
    """

    transactions = 0

    def __init__(self, directory: Path, *, answers: bool = True) -> None:
        self.directory, self._answers = directory, answers
        self.state = NodeState.load(directory)
        self._before: dict[type[ValueKey], dict[str, str]] = {
            SysctlKey: self.state.sysctls,
            TimeoutKey: self.state.ipvs_timeouts,
        }

    def goal(self, desired: Program) -> dict[Key, Any]:
        """`desired`, plus the old value of each sysctl and timeout that we set and `desired` doesn't name,
        and with the interfaces that the flowtable's patterns stand for.
        """
        goal = {
            key: value
            for key, value in flowtable.expanded(desired).items()
            if self._answers or not isinstance(key, HealthKey)
        }
        for kind, before in self._before.items():
            for name, old in before.items():
                goal.setdefault(kind(name), old)
        return goal

    def has_set(self, key: Key) -> bool:
        """Whether the sysctl or timeout `key` has a value from us, and its old one is remembered."""
        return isinstance(key, ValueKey) and key.name in self._before[type(key)]

    def observe(self, goal: Program) -> dict[Key, Any]:
        """The current values of the sysctls and timeouts in `goal`, the health checks being answered, and the
        flowtable.

        Raises UnsupportedError where `goal` has a flowtable and the kernel none.
        """
        found = flowtable.observe()
        if not found and FlowtableKey() in goal:
            flowtable.require()
        for key in goal:
            if isinstance(key, ValueKey) and (value := _READ[type(key)](key.name)) is not None:
                found[key] = value
        for check in health.running(self.directory) if self._answers else ():
            found[HealthKey(check.port)] = check
        return found

    def apply(self, changes: Sequence[Change], desired: Program) -> list[Notice]:
        """Make `changes`; returns warnings.

        Old values are written to disk before a value is first changed; raises KernelError where there is no
        room. To restore old values needs no room.
        """
        self.transactions += flowtable.apply([c for c in changes if is_flowtable(c.key)], desired)
        values = [(change.key, change) for change in changes if isinstance(change.key, ValueKey)]
        new = [(key, change) for key, change in values if key in desired and self._is_first(key, change)]
        for key, change in new:
            self._before[type(key)][key.name] = change.old
        if new:
            self.state.save(self.directory)
        checks_change = any(isinstance(change.key, HealthKey) for change in changes)
        warnings = self._answer(desired) if checks_change else []
        for key, change in values:
            _WRITE[type(key)](key.name, change.new)
        for key, _ in values:
            if key not in desired:
                self._before[type(key)].pop(key.name, None)
        restored = self._forget_restored(desired)
        if values or restored:
            with contextlib.suppress(KernelError):  # no room: the file then names values that are restored
                self.state.save(self.directory)
        return warnings

    def _is_first(self, key: ValueKey, change: Change) -> bool:
        """True for our first change of a value that the kernel has."""
        return change.old is not None and key.name not in self._before[type(key)]

    def _forget_restored(self, desired: Program) -> bool:
        """Forget old values that somebody else has restored meanwhile; True where there are any."""
        found = False
        for kind, before in self._before.items():
            for name, old in list(before.items()):
                if kind(name) not in desired and _READ[kind](name) == old:
                    del before[name]
                    found = True
        return found

    def _answer(self, desired: Program) -> list[Notice]:
        checks = [check for key, check in desired.items() if isinstance(key, HealthKey)]
        return health.serve(self.directory, checks)
