"""An apply in two halves: prepare says what it will do, finish does it.

A question may come between, without the node's lock.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import KcompileError
from ..kernel.remember import Applied, recall, remember
from ..notices import Notice
from ..plans import Plan, Removal
from .cluster import Cluster, complete_input
from .compile import Compiled, compile_cluster
from .progress import Progress, silent
from .read import Input
from .request import Request, allocations_path
from .session import Session

__all__ = ["CHANGED", "Prepared", "prepare", "prepare_cluster"]

CHANGED = "this node has changed since the plan was made, and was left alone: try again"


class Prepared(NamedTuple):
    """What an apply will do.

    Made under the node's lock, which it outlives: see `again`. `applied`: what was applied before it.
    """

    applied: Applied | None
    compiled: Compiled
    session: Session
    plan: Plan

    @property
    def begins_retiring_mode(self) -> bool:
        """Whether the node comes to a mode that Kubernetes is about to drop."""
        mode = self.compiled.mode
        return mode.retiring and (self.applied is None or self.applied.mode != mode.name)

    @property
    def removal(self) -> Removal:
        """The Services that go."""
        return self.session.removal(self.plan, self.compiled.dataplane)

    def again(self, directory: Path, progress: Progress = silent) -> Prepared:
        """The same under a new lock.

        Raises KcompileError where the node or its allocations have changed since.
        """
        session = Session.open(self.session.request, self.compiled.mode, directory)
        plan = session.plan(self.compiled.dataplane, self.compiled.warnings, progress)
        if plan != self.plan or self.compiled.cluster.memory.has_changed():
            raise KcompileError(CHANGED)
        return self._replace(session=session, plan=plan)

    def finish(self, directory: Path, progress: Progress = silent) -> tuple[Notice, ...]:
        """Write everything, the allocations first; returns warnings. Call it under the lock.

        :raises KernelError: where the kernel refuses something, or there is no room for what must be remembered
        """
        self.compiled.cluster.memory.keep()
        with remember(directory, self.session.driver.name, self.compiled.dataplane) as applied:
            if not self.plan.empty:
                return self.session.commit(self.plan, self.compiled.dataplane, progress, then=applied.commit)
            applied.commit()
        return ()


def prepare(request: Request, given: Input, directory: Path, progress: Progress = silent) -> Prepared:
    """From a checked input to the plan for this node.

    `directory`: its run directory, locked. Raises KcompileError.
    """
    progress("compiling")
    cluster = complete_input(given, request, allocations_path(request))
    return prepare_cluster(cluster, request, directory, progress)


def prepare_cluster(
    cluster: Cluster, request: Request, directory: Path, progress: Progress = silent
) -> Prepared:
    """The same from a cluster that is complete. Raises KcompileError."""
    applied = recall(directory)
    compiled = compile_cluster(cluster, request, on_node=True, default_mode=applied.mode if applied else None)
    session = Session.open(request, compiled.mode, directory)
    return Prepared(applied, compiled, session, session.plan(compiled.dataplane, compiled.warnings, progress))
