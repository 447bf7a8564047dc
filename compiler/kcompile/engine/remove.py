"""Taking things off a node: some Services, or all that is kcompile's."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from ..errors import InputError, KcompileError
from ..ir.model import Dataplane
from ..ir.node import Compat, NodeFacts, Settings
from ..kernel.drivers import Driver, installed
from ..kernel.kubeproxy import KubeProxy
from ..kernel.node import NodeResources
from ..kernel.remember import Applied, forget, recall, remember
from ..modes import DEFAULT_MODE, mode_of
from ..notices import Notice
from ..plans import Plan, Removal
from ..targets.node import SysctlKey
from .apply import CHANGED
from .progress import Progress, silent
from .request import Request
from .session import Session

__all__ = ["Emptying", "Rest", "nothing_there"]


def nothing_there(directory: Path) -> bool:
    """Whether no apply is remembered, and nothing of ours is in this namespace."""
    return recall(directory) is None and not installed("", directory)


class Rest(NamedTuple):
    """The dataplane that stays when some Services are deleted, and the plan for it."""

    mode: str
    dataplane: Dataplane
    session: Session
    plan: Plan

    @classmethod
    def make(cls, request: Request, names: set[str], directory: Path, progress: Progress = silent) -> Rest:
        """All but the Services with the ``namespace/name`` of `names`.

        Raises InputError where nothing is known of an earlier apply.
        """
        applied = recall(directory)
        if applied is None:
            raise InputError(
                "delete -f: nothing is remembered of an earlier apply on this node; "
                "apply the remaining manifests instead"
            )
        dataplane = _without(applied.dataplane, names)
        session = Session.open(request, mode_of(applied.mode), directory)
        return cls(applied.mode, dataplane, session, session.plan(dataplane, (), progress))

    @property
    def removal(self) -> Removal:
        """The Services that go."""
        return self.session.removal(self.plan, self.dataplane)

    def again(self, names: set[str], directory: Path, progress: Progress = silent) -> Rest:
        """The same under a new lock. Raises KcompileError where the node has changed since."""
        again = self.make(self.session.request, names, directory, progress)
        if again.plan != self.plan:
            raise KcompileError(CHANGED)
        return again

    def finish(self, directory: Path, progress: Progress = silent) -> tuple[Notice, ...]:
        """Carry it out; returns warnings. Call it under the lock. Raises KernelError."""
        with remember(directory, Applied(self.mode, self.dataplane)) as applied:
            if not self.plan.empty:
                return self.session.commit(self.plan, self.dataplane, progress, then=applied.commit)
            applied.commit()
        return ()


def _without(dataplane: Dataplane, names: set[str]) -> Dataplane:
    """`dataplane` less the Services with these ``namespace/name`` keys."""
    ports = tuple([p for p in dataplane.ports if p.name.partition(":")[0] not in names])
    checks = tuple([c for c in dataplane.health_checks if f"{c.namespace}/{c.service}" not in names])
    return msgspec.structs.replace(dataplane, ports=ports, health_checks=checks)


class Emptying(NamedTuple):
    """Takes every rule of ours off the node, or those of one mode. `left`: other modes keep theirs."""

    session: Session
    plan: Plan
    left: bool

    @classmethod
    def make(cls, request: Request, directory: Path, progress: Progress = silent) -> Emptying:
        """For every mode, unless `request` names one."""
        found = installed("", directory)
        drivers = [mode.driver for mode in found] or [mode_of(DEFAULT_MODE).driver(directory)]
        left = False
        if request.mode:
            # that of what is there needs no second look at which iptables the node uses
            known = [driver for driver in drivers if driver.name == request.mode]
            if request.iptables_backend or not known:
                known = [mode_of(request.mode).driver(directory, request.iptables_backend)]
            drivers = known
            left = any(mode.driver.name != drivers[0].name for mode in found)
            found = []
        session = Session(request, drivers[0], found[1:], NodeResources(directory))
        plan = session.plan(_nothing(), (), progress, keep_connections=False)
        if left:  # another mode's rules stay, and need the sysctls and the health checks
            plan = msgspec.structs.replace(plan, node=())
        elif plan.node and KubeProxy.found():  # it needs the sysctls, and found them set
            kept = tuple([change for change in plan.node if not isinstance(change.key, SysctlKey)])
            plan = msgspec.structs.replace(plan, node=kept)
        return cls(session, plan, left)

    def finish(self, directory: Path, progress: Progress = silent) -> tuple[Notice, ...]:
        """Carry it out; returns warnings. Call it under the lock. Raises KernelError."""
        warnings: tuple[Notice, ...] = ()
        if not self.plan.empty:
            warnings = self.session.commit(self.plan, _nothing(), progress, keep_connections=False)
        applied = recall(directory)
        if not self.left or (applied is not None and applied.mode == self.driver.name):
            forget(directory)
        return warnings

    @property
    def driver(self) -> Driver:
        """That of the mode that is looked at first."""
        return self.session.driver


def _nothing() -> Dataplane:
    return Dataplane(NodeFacts(), Settings(compat=Compat.of("iptables")), ())
